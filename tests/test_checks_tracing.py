"""Tracing files behind those that are there: what is measured, what is told, what ends it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import conninfo

from headwater.checks import tracing as checks_tracing
from headwater.checks.measured import judged, told
from headwater.checks.rules import BY_ID, EXAMPLE_SCHEMA, Rule
from headwater.checks.rules.traced import FAILS, TRACED
from headwater.checks.tracing import Tracing, trace_files
from headwater.errors import TargetError
from headwater.files.accepted import Accepted
from headwater.files.read import read_folder
from headwater.files.refusals import check_all
from headwater.model import Finding, MigrationFolder, Severity, Target
from headwater.postgres.connect import with_database
from headwater.settings import Settings
from tests.conftest import FreshDatabase
from tests.support import query, write_files

BEFORE, FILE = "20240101_example", "20240201_file"


@pytest.fixture(scope="module")
def place(server: Target, fresh_database: FreshDatabase) -> Generator[Target]:
    """An empty database: scratch databases are made beside it."""
    with fresh_database() as url:
        yield with_database(server, str(conninfo.conninfo_to_dict(url)["dbname"]), "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The trace of the last file of a folder, and what is told of it."""

    tracing: Tracing
    findings: tuple[Finding, ...]

    @property
    def rules(self) -> list[tuple[str, int]]:
        return [(finding.rule, finding.line) for finding in self.findings]


def settings_for(folder: Path) -> Settings:
    return Settings(root=folder, migrations=folder, schemas=("app",))


def files_of(folder: MigrationFolder, *versions: str) -> list[Accepted]:
    accepted, refused = check_all([m for m in folder.migrations if m.version in versions])
    assert refused == ()
    return list(accepted)


def run(place: Target, tmp_path: Path, text: str, *, setup: str = "") -> Run:
    """Trace a file behind the schema of the examples."""
    write_files(tmp_path, {f"{BEFORE}.sql": EXAMPLE_SCHEMA + setup, f"{FILE}.sql": text})
    folder = read_folder(tmp_path)
    [file] = files_of(folder, FILE)
    tracing = trace_files(place, folder, settings_for(tmp_path), before=[BEFORE], files=[file])
    findings = [*tracing.failures]
    for traced in tracing.traces:
        findings += told(file, traced, (), version=tracing.version)
    return Run(tracing=tracing, findings=tuple(findings))


# --- the rules --------------------------------------------------------------------------------


def line_of_first_statement(text: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if not line.startswith("--"))


@pytest.mark.parametrize("rule", TRACED, ids=lambda rule: rule.id)
def test_a_rule_finds_its_bad_example_and_leaves_its_good_one(
    place: Target, tmp_path: Path, rule: Rule
) -> None:
    bad = run(place, tmp_path / "bad", rule.bad, setup=rule.setup)
    line = 2 if rule.id == "work-after-lock" else line_of_first_statement(rule.bad)
    mine = [finding for finding in bad.findings if finding.rule == rule.id]
    assert [(f.severity, f.hint, f.page) for f in mine] == [
        (rule.severity, rule.instead, f"docs/rules/{rule.id}.md")
    ] * len(mine)
    assert mine[0].line == line
    assert mine[0].measured or rule.id == "not-traced"
    good = run(place, tmp_path / "good", rule.good, setup=rule.setup)
    assert [f for f in good.findings if f.severity is not Severity.INFO] == []
    assert rule.id not in [f.rule for f in good.findings]


# --- claims -----------------------------------------------------------------------------------


def claimed(rule: str, line: int) -> Finding:
    return Finding(rule=rule, message="m", file=f"{FILE}.sql", line=line, column=1)


def judge(place: Target, tmp_path: Path, text: str, claims: list[tuple[str, int]]) -> list[Finding]:
    """Give what the trace leaves of claims that rules about the text make at these lines."""
    tracing = run(place, tmp_path, text).tracing
    [file] = files_of(read_folder(tmp_path), FILE)
    return judged([claimed(*claim) for claim in claims], file, tracing.traces[0], version=18)


def test_a_claim_that_the_trace_refutes_is_not_shown(place: Target, tmp_path: Path) -> None:
    text = (
        "alter table app.t alter column name type varchar(200);\n"
        "alter table app.t alter column a type bigint;\n"
    )
    both = [("changing-column-type", 1), ("changing-column-type", 2)]
    [left] = judge(place, tmp_path, text, both)
    assert left.line == 2
    assert left.relation == "app.t"
    assert left.measured == (
        "rewrites app.t (column type): ACCESS EXCLUSIVE, blocks reads and writes"
    )


def test_what_claims_nothing_about_work_stays(place: Target, tmp_path: Path) -> None:
    text = "alter table app.t alter column name type varchar(200);\n"
    [left] = judge(place, tmp_path, text, [("prefer-timestamp-tz", 1)])
    assert left == claimed("prefer-timestamp-tz", 1)


def test_the_advice_is_that_for_the_version_of_the_server(place: Target, tmp_path: Path) -> None:
    tracing = run(place, tmp_path, "alter table app.t alter column name set not null;\n").tracing
    [file] = files_of(read_folder(tmp_path), FILE)
    rule = BY_ID["adding-not-nullable-field"]
    for version in (17, 18):
        [left] = judged([claimed(rule.id, 1)], file, tracing.traces[0], version=version)
        assert left.hint == rule.instead_on(version)


def test_what_is_confirmed_is_told_once(place: Target, tmp_path: Path) -> None:
    found = run(place, tmp_path, "alter table app.t alter column a type bigint;\n")
    [file] = files_of(read_folder(tmp_path), FILE)
    [traced] = found.tracing.traces
    seen = judged([claimed("changing-column-type", 1)], file, traced, version=18)
    assert list(told(file, traced, seen, version=18)) == []
    assert found.rules == [("rewrite", 1)]


# --- several files ----------------------------------------------------------------------------


def test_each_file_is_traced_behind_those_before_it(place: Target, tmp_path: Path) -> None:
    files = {
        f"{BEFORE}.sql": EXAMPLE_SCHEMA,
        "20240201_a.sql": "create table app.n (a int);\n",
        "20240202_b.sql": "alter table app.n alter column a type bigint;\n",
    }
    write_files(tmp_path, files)
    folder = read_folder(tmp_path)
    tracing = trace_files(
        place,
        folder,
        settings_for(tmp_path),
        before=[BEFORE],
        files=files_of(folder, "20240201_a", "20240202_b"),
    )
    assert (tracing.notes, tracing.failures) == ((), ())
    assert [[e.rewrite for s in t.statements for e in s.effects] for t in tracing.traces] == [
        [],
        ["column type"],
    ]
    assert [[change.object for change in t.changes] for t in tracing.traces] == [
        ["table app.n"],
        ["column app.n.a"],
    ]


def test_a_file_that_fails_ends_the_trace_and_is_found(place: Target, tmp_path: Path) -> None:
    files = {
        f"{BEFORE}.sql": EXAMPLE_SCHEMA,
        "20240201_a.sql": "select 1;\nselect 1\n  from app.nowhere;\n",
        "20240202_b.sql": "select 2;\n",
    }
    write_files(tmp_path, files)
    folder = read_folder(tmp_path)
    tracing = trace_files(
        place,
        folder,
        settings_for(tmp_path),
        before=[BEFORE],
        files=files_of(folder, "20240201_a", "20240202_b"),
    )
    [failure] = tracing.failures
    assert (failure.rule, failure.file, failure.line, failure.column) == (
        FAILS.id,
        "20240201_a.sql",
        3,
        8,
    )
    assert failure.message == 'relation "app.nowhere" does not exist'
    assert [traced.version for traced in tracing.traces] == ["20240201_a"]


def test_what_is_there_and_does_not_build_is_a_note(place: Target, tmp_path: Path) -> None:
    write_files(tmp_path, {f"{BEFORE}.sql": "select nothing;\n", f"{FILE}.sql": "select 1;\n"})
    folder = read_folder(tmp_path)
    tracing = trace_files(
        place, folder, settings_for(tmp_path), before=[BEFORE], files=files_of(folder, FILE)
    )
    [note] = tracing.notes
    assert note.startswith("nothing was run: what is there before does not build: ")
    assert tracing.traces == ()


def test_a_file_that_reaches_beyond_is_traced_but_for_that_and_ends_the_trace(
    place: Target, tmp_path: Path
) -> None:
    text = "alter table app.t add column n int;\nalter system set work_mem = '8MB';\n"
    found = run(place, tmp_path, f"-- headwater: no-transaction\n{text}")
    [note] = found.tracing.notes
    assert note.startswith(f"{FILE}.sql was not run as a whole: line 3: ALTER SYSTEM reaches")
    assert ("not-traced", 3) in found.rules
    assert found.tracing.traces[0].statements[0].effects


def test_a_file_that_needs_its_transaction_is_traced_in_it(place: Target, tmp_path: Path) -> None:
    text = "set local search_path = app;\nalter table t alter column a type bigint;\n"
    found = run(place, tmp_path, text)
    assert found.tracing.traces[0].error == ""
    assert ("rewrite", 2) in found.rules


def test_without_a_place_nothing_is_run_and_a_note_says_why(
    place: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_tracing, "scratch_server", lambda *_: "there is no place")
    found = run(place, tmp_path, "alter table app.t alter column a type bigint;\n")
    assert found.tracing.notes == ("nothing was run: there is no place",)
    assert found.findings == ()


def test_nothing_is_left_behind(place: Target, tmp_path: Path) -> None:
    run(place, tmp_path, "alter table app.t add column n int;\n")
    schemas = query(place, "select from pg_namespace where nspname in ('app', 'headwater_trace')")
    assert schemas == []


def test_set_local_never_lets_another_table_be_measured(place: Target, tmp_path: Path) -> None:
    # Without its transaction the second statement would find public.t, which is nobody's.
    setup = "create table public.t (a int);\n"
    text = "set local search_path = app;\nalter table t alter column a type bigint;\n"
    found = run(place, tmp_path, text, setup=setup)
    assert [
        effect.relation for s in found.tracing.traces[0].statements for effect in s.effects
    ] == ["app.t"]


def test_what_the_next_file_finishes_is_not_left_unfinished(place: Target, tmp_path: Path) -> None:
    files = {
        f"{BEFORE}.sql": EXAMPLE_SCHEMA,
        "20240201_a.sql": "alter table app.t add constraint c check (a > 0) not valid;\n"
        "alter table app.t add constraint d check (b > 0) not valid;\n",
        "20240202_b.sql": "alter table app.t validate constraint c;\n",
    }
    write_files(tmp_path, files)
    folder = read_folder(tmp_path)
    accepted = files_of(folder, "20240201_a", "20240202_b")
    tracing = trace_files(place, folder, settings_for(tmp_path), before=[BEFORE], files=accepted)
    assert [traced.unfinished for traced in tracing.traces] == [("constraint d on app.t",), ()]


def test_the_facts_of_earlier_files_stay_when_the_last_one_fails_statement_by_statement(
    place: Target, tmp_path: Path
) -> None:
    files = {
        f"{BEFORE}.sql": EXAMPLE_SCHEMA,
        "20240201_a.sql": "alter table app.t enable row level security;\n",
        # What a COMMIT ends, no trace can run in a transaction of its own.
        "20240202_b.sql": "create role headwater_of_a_file;\ngrant select on app.t to "
        "headwater_of_a_file;\ndrop owned by headwater_of_a_file;\n"
        "drop role headwater_of_a_file;\n",
    }
    write_files(tmp_path, files)
    folder = read_folder(tmp_path)
    accepted = files_of(folder, "20240201_a", "20240202_b")
    tracing = trace_files(place, folder, settings_for(tmp_path), before=[BEFORE], files=accepted)
    assert tracing.traces[1].error
    assert [one.fact.rule for one in tracing.facts[0]] == ["rls-without-policy"]


# --- both runs at the same time ---------------------------------------------------------------


def scratches(place: Target) -> set[str]:
    """Name the scratch databases of this process: other tests use the same server."""
    text = (
        "select datname from pg_database where datname like 'headwater_scratch_%' and "
        f"shobj_description(oid, 'pg_database') like '%scratch of process {os.getpid()} on %'"
    )
    return {name for (name,) in query(place, text)}


def asleep(place: Target) -> int:
    """Count the sessions that sleep in them."""
    text = "select datname from pg_stat_activity where wait_event = 'PgSleep'"
    return len([name for (name,) in query(place, text) if name in scratches(place)])


def test_ctrl_c_ends_both_runs_and_leaves_no_database(place: Target, tmp_path: Path) -> None:
    begun = time.monotonic()

    def press() -> None:
        while asleep(place) < 2 and time.monotonic() < begun + 20:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    hand = threading.Thread(target=press)
    hand.start()
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path, "create table app.n as select 1 as a from pg_sleep(30);\n")
    hand.join()
    assert time.monotonic() < begun + 25
    assert scratches(place) == set()
    assert asleep(place) == 0


def test_what_goes_wrong_in_the_trace_is_told_and_leaves_no_database(
    place: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TargetError("the disk is full")

    monkeypatch.setattr(checks_tracing, "trace", fail)
    found = run(place, tmp_path, "alter table app.t add column n int;\n")
    assert found.tracing.notes == ("nothing was run: the disk is full",)
    assert scratches(place) == set()


def test_a_role_that_a_block_makes_once_is_not_made_twice_at_once(
    place: Target, tmp_path: Path
) -> None:
    text = (
        "-- headwater: no-transaction\ndo $$ begin\n"
        "  if not exists (select from pg_roles where rolname = 'headwater_of_a_block') then\n"
        "    perform pg_sleep(1); create role headwater_of_a_block;\n"
        "  end if;\nend $$;\n"
    )
    try:
        found = run(place, tmp_path, text)
        assert found.tracing.failures == ()
        assert [traced.error for traced in found.tracing.traces] == [""]
    finally:
        query(place, "drop role if exists headwater_of_a_block")
