"""Lint with all its layers: what is told once, what is refuted, what an allow takes away."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from psycopg import conninfo

from headwater.checks.layers import Selection, lint_target, lint_text, select
from headwater.checks.rules import EXAMPLE_SCHEMA
from headwater.files.read import read_folder
from headwater.model import Layer, Severity, Target
from headwater.postgres.connect import with_database
from headwater.postgres.run import migrate
from headwater.settings import Settings
from headwater.verdicts import Linted, Weight, Weights
from tests.conftest import FreshDatabase
from tests.support import query, write_files

BEFORE, FILE, NEXT = "20240101_example", "20240201_file", "20240301_next"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    target: Target
    settings: Settings

    def write(self, files: Mapping[str, str]) -> None:
        write_files(
            self.settings.migrations,
            {f"{BEFORE}.sql": EXAMPLE_SCHEMA, **{f"{k}.sql": v for k, v in files.items()}},
        )

    def lint(
        self, files: Mapping[str, str], *, live: bool = False, weights: Weights | None = None
    ) -> Linted:
        """Lint files behind the schema of the examples."""
        self.write(files)
        return lint_target(
            self.target,
            read_folder(self.settings.migrations),
            self.settings,
            Selection(versions=frozenset(files)),
            live=live,
            weights=weights,
        )


@pytest.fixture(scope="module")
def place(server: Target, fresh_database: FreshDatabase) -> Generator[Target]:
    with fresh_database() as url:
        yield with_database(server, str(conninfo.conninfo_to_dict(url)["dbname"]), "test")


@pytest.fixture
def project(place: Target, tmp_path: Path) -> Project:
    folder = tmp_path / "migrations"
    return Project(
        target=place, settings=Settings(root=tmp_path, migrations=folder, schemas=("app",))
    )


def told(linted: Linted) -> list[tuple[str, str, int]]:
    return [(finding.rule, finding.layer.value, finding.line) for finding in linted.findings]


# --- together ---------------------------------------------------------------------------------


def test_each_layer_tells_what_no_other_one_tells(project: Project) -> None:
    text = (
        "alter table app.t alter column a type bigint;\n"
        "alter table app.t alter column name type varchar(300);\n"
        "alter table app.t enable row level security;\n"
        "do $$ begin execute 'create index j on app.t ' || '(b)'; end $$;\n"
    )
    assert told(project.lint({FILE: text})) == [
        ("changing-column-type", "text", 1),
        ("rls-without-policy", "catalogue", 3),
        ("hidden-ddl", "trace", 4),
        ("index-build-under-lock", "trace", 4),
        ("work-after-lock", "trace", 4),
    ]


def test_actions_of_one_statement_are_told_apart(project: Project) -> None:
    text = (
        "alter table app.t\n    alter column name type varchar(300),\n"
        "    alter column a type bigint;\n"
    )
    [finding] = project.lint({FILE: text}).findings
    assert (finding.rule, finding.line) == ("changing-column-type", 3)
    assert finding.measured.startswith("rewrites app.t (column type)")


def test_an_action_that_needs_another_one_is_judged_with_the_whole(project: Project) -> None:
    text = "alter table app.t add column c int, alter column c type bigint, alter a type bigint;\n"
    assert ("changing-column-type", "text", 1) in told(project.lint({FILE: text}))


def test_what_a_later_file_mends_is_nobodys_trouble(project: Project) -> None:
    files = {
        FILE: "alter table app.t enable row level security;\n",
        NEXT: "create policy p on app.t using (name = (select current_setting('app.u', true)));\n",
    }
    assert told(project.lint({FILE: files[FILE]})) == [("rls-without-policy", "catalogue", 1)]
    assert told(project.lint(files)) == []


def test_the_target_is_not_touched(project: Project) -> None:
    before = query(project.target, "select count(*) from pg_class")
    project.lint({FILE: "create table app.n (a int);\n"}, live=True)
    assert query(project.target, "select count(*) from pg_class") == before


# --- allow ------------------------------------------------------------------------------------


def allow(rules: str) -> str:
    return f"-- headwater: allow {rules} because the table is small\n"


def test_a_finding_of_any_layer_can_be_allowed(project: Project) -> None:
    text = (
        f"{allow('rewrite, hidden-ddl')}"
        "do $$ begin execute 'alter table app.t alter a type ' || 'bigint'; end $$;\n"
        f"{allow('rls-without-policy')}"
        "alter table app.t enable row level security;\n"
    )
    assert told(project.lint({FILE: text})) == []


def test_an_allow_that_the_trace_shows_to_be_idle_is_found_where_it_ran(project: Project) -> None:
    text = f"{allow('rewrite')}alter table app.t add column c int;\n"
    assert told(project.lint({FILE: text})) == [("unused-allow", "text", 1)]
    folder = read_folder(project.settings.migrations)
    assert lint_text(folder, project.settings, Selection(versions=frozenset({FILE}))) == Linted(
        findings=(), files=1
    )


def test_an_allow_of_the_live_layer_is_idle_only_where_the_rows_were_asked(
    project: Project,
) -> None:
    text = f"{allow('would-fail-null')}alter table app.t add column c int;\n"
    assert told(project.lint({FILE: text})) == []
    assert told(project.lint({FILE: text}, live=True)) == [("unused-allow", "text", 1)]


# --- what cannot be looked at -----------------------------------------------------------------


def test_files_that_migrate_refuses_are_not_run(project: Project) -> None:
    linted = project.lint({FILE: "create tabel app.n ();\n", NEXT: "drop table app.u;\n"})
    assert told(linted) == [("syntax", "text", 1), ("ban-drop-table", "text", 1)]
    assert linted.notes == ("nothing was run: first mend what migrate refuses",)
    assert linted.traces == ()


def test_a_file_that_fails_is_found_and_its_claims_stay(project: Project) -> None:
    text = "alter table app.t alter column name type varchar(300);\nselect * from app.nowhere;\n"
    found = told(project.lint({FILE: text}))
    assert ("fails", "trace", 2) in found


# --- weights ----------------------------------------------------------------------------------


def weights_of(rows: int, size: int) -> Weights:
    weight = Weight(rows=rows, heap_bytes=size, index_bytes=0)
    return Weights(tables={"app.t": weight}, source="a file", version=18)


@pytest.mark.parametrize(
    ("rows", "size", "severity"),
    [
        (100, 8_000, Severity.INFO),
        (1_000_000, 600_000_000, Severity.WARNING),
        (48_000_000, 41_000_000_000, Severity.ERROR),
    ],
)
def test_the_size_of_a_table_decides_how_much_it_matters(
    project: Project, rows: int, size: int, severity: Severity
) -> None:
    text = "alter table app.t alter column a type bigint;\n"
    [finding] = project.lint({FILE: text}, weights=weights_of(rows, size)).findings
    assert finding.severity is severity
    assert "app.t" in finding.measured


def test_live_asks_the_rows_and_the_sizes(project: Project, target: Target, tmp_path: Path) -> None:
    project.write({FILE: "alter table app.t alter column u_id set not null;\n"})
    folder = read_folder(project.settings.migrations)
    migrate(target, folder, project.settings, to=BEFORE)
    query(target, "update app.t set u_id = null where id < 4; analyze app.t")
    selection = select(folder, project.settings, target, all=False, base="")
    assert selection == Selection(versions=frozenset({FILE}))
    linted = lint_target(target, folder, project.settings, selection, live=True)
    by_rule = {finding.rule: finding for finding in linted.findings}
    assert by_rule["would-fail-null"].severity is Severity.ERROR
    assert by_rule["would-fail-null"].layer is Layer.LIVE
    assert by_rule["adding-not-nullable-field"].severity is Severity.INFO
    assert linted.weights
    assert linted.weights.tables["app.t"].rows == 10


# --- which files count ------------------------------------------------------------------------


def test_without_a_target_all_of_them_count(project: Project) -> None:
    project.write({FILE: "select 1;\n"})
    folder = read_folder(project.settings.migrations)
    chosen = select(folder, project.settings, None, all=False, base="")
    assert chosen == Selection(versions=None)
    assert chosen.files(folder) == (f"{BEFORE}.sql", f"{FILE}.sql")
    assert Selection(versions=frozenset({FILE})).files(folder) == (f"{FILE}.sql",)


# --- what is not run, not shown, not allowed --------------------------------------------------


def test_that_a_file_fails_cannot_be_allowed(project: Project) -> None:
    text = f"{allow('fails')}alter table app.t alter column nowhere type bigint;\n"
    assert ("fails", "trace", 2) in told(project.lint({FILE: text}))


def test_passwords_are_not_shown(project: Project) -> None:
    text = (
        "create role headwater_canary login password 'canary';\n"
        "comment on table app.t is 'postgres://u:canary@h/db';\n"
        "drop role headwater_canary;\n"
    )
    linted = project.lint({FILE: text})
    assert linted.traces
    assert "'canary'" not in repr(linted.traces[0].statements)
    assert all("'canary'" not in f.source + f.measured for f in linted.findings)
    assert all(":canary@" not in s.text for t in linted.traces for s in t.statements)


def test_copy_of_files_and_programs_is_not_run(project: Project, tmp_path: Path) -> None:
    left = tmp_path / "left"
    text = f"copy app.u (name) from program 'touch {left}; echo x';\n"
    linted = project.lint({FILE: text})
    assert not left.exists()
    assert ("not-traced", "trace", 1) in told(linted)
    assert linted.notes[0] == f"{FILE}.sql was not run as a whole: line 1: COPY … PROGRAM"


def test_what_stands_behind_a_file_that_does_not_run_is_named(project: Project) -> None:
    files = {FILE: "select nothing;\n", NEXT: "alter table app.t alter column a type bigint;\n"}
    assert project.lint(files).notes == (f"not run, being behind that: {NEXT}.sql",)


def test_a_claim_about_what_nobody_could_look_at_stays(project: Project) -> None:
    text = (
        "-- headwater: no-transaction\n"
        "do $$ begin alter table app.t alter column a type bigint; commit; end $$;\n"
    )
    assert ("changing-column-type", "text", 2) in told(project.lint({FILE: text}))


def test_the_heaviest_of_many_relations_is_weighed(project: Project) -> None:
    text = (
        "do $$ begin alter table app.u alter column name type varchar(5); "
        "alter table app.t alter column a type bigint; end $$;\n"
    )
    heavy = weights_of(48_000_000, 41_000_000_000)
    light = {"app.u": Weight(rows=1, heap_bytes=8_000, index_bytes=0)}
    found = project.lint({FILE: text}, weights=replace(heavy, tables={**light, **heavy.tables}))
    worst = max(found.findings, key=lambda finding: finding.severity.rank)
    assert worst.severity is Severity.ERROR
    assert worst.measured.startswith("rewrites app.t: 48 M rows")


def test_two_statements_on_one_line_are_weighed_apart(project: Project) -> None:
    text = "alter table app.t alter column a type bigint; alter table app.u add column z int;\n"
    [finding] = project.lint({FILE: text}, weights=weights_of(48_000_000, 41_000_000_000)).findings
    assert finding.severity is Severity.ERROR


def test_what_a_file_writes_into_the_notes_of_the_trace_is_no_note(project: Project) -> None:
    text = "select set_config('headwater.trace', 'garbage' || chr(10) || '{}', true);\n"
    assert project.lint({FILE: text}).traces[0].error == ""
