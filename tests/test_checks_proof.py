"""Verify: eight lines, every difference told, and nothing written to the target."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType

import psycopg
import pytest
from psycopg import conninfo

from headwater.checks import building, proof, rebuilding
from headwater.checks.proof import verify
from headwater.errors import Unreachable
from headwater.files import sentences
from headwater.files.read import read_folder
from headwater.files.sentences import Sentences, read_sentences
from headwater.model import (
    Applied,
    Event,
    Finding,
    Said,
    Target,
)
from headwater.postgres.connect import Connection, connect
from headwater.postgres.plan import order_of_history
from headwater.postgres.run import migrate
from headwater.report.changes import describe
from headwater.settings import DatabaseChoice, Settings
from headwater.verdicts import CheckLine, Outcome, Verification
from tests.conftest import ROOT
from tests.support import folder_with, migrated, query, tables, value, write_files

NAMES = ["files", "rebuild", "post-conditions", "undo", "checks", "seeds", "drift", "lint"]

FIRST = {
    "20250101_first.sql": "create schema app;\ncreate table app.a (id int primary key);\n",
    "20250101_first.verify.sql": """\
select count(*) = 0 as "there is no row" from app.a;
select to_regclass('app.a') is not null as "there is a table";
""",
    "checks/tables.sql": 'select count(*) = 0 as "no row is negative" from app.a where id < 0;\n',
}
SECOND = {"20250102_second.sql": "alter table app.a add column b int;\n"}

Files = dict[str, str]


def verified(target: Target, settings: Settings, files: Files | None = None) -> Verification:
    """Verify, with these files written over the others; there are always the eight lines."""
    write_files(settings.migrations, files or {})
    report = verify(target, read_folder(settings.migrations), settings)
    assert [line.name for line in report.lines] == NAMES
    return report


def line(report: Verification, name: str) -> CheckLine:
    return report.lines[NAMES.index(name)]


def outcomes(report: Verification) -> str:
    """Give the outcomes of the eight lines, in order."""
    return ", ".join(each.outcome.value for each in report.lines)


def differences(report: Verification) -> list[str]:
    return [describe(change) for change in line(report, "drift").changes]


def only_finding(report: Verification, name: str) -> Finding:
    [finding] = line(report, name).findings
    return finding


ALL_OK = "ok, ok, ok, ok, ok, ok, ok, ok"


@pytest.fixture
def built(target: Target, settings: Settings) -> Target:
    """A target to which the first file was applied."""
    migrated(target, settings, FIRST)
    return target


def not_possible(target: Target) -> None:
    """Leave a target no place for a scratch database: not disposable, and like nothing else."""
    query(target, f'comment on database "{target.database}" is null')
    query(target, "update pg_extension set extname = 'unheard_of' where extname = 'plpgsql'")


def here(settings: Settings, server: Target) -> Settings:
    """Give settings of this checkout, whose private server runs."""
    if not server.private:
        pytest.skip("the tests' databases are not on the private server")
    return replace(settings, root=ROOT)


# --- the eight lines ----------------------------------------------------------------------------


def test_what_the_files_have_built_is_proved_in_eight_lines(
    built: Target, settings: Settings
) -> None:
    report = verified(built, settings)
    assert outcomes(report) == ALL_OK
    assert report.exit_code == 0
    assert [each.summary for each in report.lines] == [
        "1 migrations, 1 applied, 0 pending",
        "1 migrations build a database from nothing",
        "2 hold",
        "there are no down files",
        "1 hold of the rebuilt schema and the target",
        "there are none",
        "the database is what the files build",
        "nothing is pending",
    ]


def test_a_fresh_database_without_history_has_everything_pending(
    target: Target, settings: Settings
) -> None:
    folder_with(settings, FIRST)
    report = verified(target, settings)
    assert outcomes(report) == ALL_OK
    assert line(report, "files").summary == "1 migrations, 0 applied, 1 pending"
    assert line(report, "checks").summary == "1 hold of the rebuilt schema"
    assert tables(target) == []
    assert value(target, "select to_regclass('public.schema_migrations') is null")


def test_an_empty_folder_and_an_empty_database_agree(target: Target, settings: Settings) -> None:
    report = verified(target, settings)
    assert outcomes(report) == ALL_OK
    assert line(report, "post-conditions").summary == "there are none"
    assert line(report, "checks").summary == "there are none"


def test_what_is_pending_is_no_drift_and_still_proven(built: Target, settings: Settings) -> None:
    check = "select count(*) = 1 as \"b is there\" from pg_attribute where attname = 'b'\n"
    check += "and attrelid = 'app.a'::regclass;\n"
    report = verified(built, settings, {**SECOND, "checks/b.sql": check})
    assert outcomes(report) == ALL_OK
    assert line(report, "files").summary == "2 migrations, 1 applied, 1 pending"
    assert line(report, "rebuild").summary == "2 migrations build a database from nothing"
    assert line(report, "checks").summary == "2 hold of the rebuilt schema"
    query(built, "alter table app.a add column c int")
    report = verified(built, settings)
    assert differences(report) == ["column app.a.c: in the database, not in the files"]


def test_a_pending_file_that_fails_is_told_and_so_is_all_the_rest(
    built: Target, settings: Settings
) -> None:
    query(built, "alter table app.a add column c int")
    report = verified(built, settings, {"20250102_second.sql": "alter table app.b add c int;\n"})
    assert outcomes(report) == "ok, failed, skipped, ok, skipped, ok, found, ok"
    assert report.exit_code == 1
    broken = only_finding(report, "rebuild")
    assert broken.rule == "migration-failed"
    assert broken.message == '20250102_second.sql:1:1: relation "app.b" does not exist'
    assert line(report, "post-conditions").summary == "they run within the rebuild"
    assert differences(report) == ["column app.a.c: in the database, not in the files"]


def test_a_post_condition_that_does_not_hold_breaks_the_rebuild(
    target: Target, settings: Settings
) -> None:
    false = {"20250101_first.verify.sql": 'select false as "it holds";\n'}
    folder_with(settings, FIRST | false)
    report = verified(target, settings)
    assert outcomes(report) == "ok, failed, skipped, ok, skipped, ok, ok, ok"
    assert "it holds" in str(only_finding(report, "rebuild"))


def test_an_edited_file_is_found_and_nothing_is_rebuilt(built: Target, settings: Settings) -> None:
    report = verified(built, settings, {"20250101_first.sql": "create schema app;\n"})
    assert outcomes(report) == "found, skipped, skipped, ok, ok, ok, skipped, ok"
    assert only_finding(report, "files").rule == "history-edited"
    assert line(report, "rebuild").summary == "the files have problems"
    assert line(report, "checks").summary == "1 hold of the target"
    assert report.exit_code == 1


def test_what_cannot_be_read_is_not_said_to_be_absent(built: Target, settings: Settings) -> None:
    broken = {"20250101_first.sql": "create tabel;\n", "checks/tables.sql": "select;\n"}
    report = verified(built, settings, broken)
    assert outcomes(report) == "found, skipped, skipped, ok, skipped, ok, skipped, ok"
    assert line(report, "post-conditions").summary == "they run within the rebuild"
    assert line(report, "checks").summary == "no sentence of them can be read"


def test_the_checks_are_read_once(
    built: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[str]()

    def counting(text: str, file: str) -> Sentences:
        read.append(file)
        return read_sentences(text, file)

    monkeypatch.setattr(sentences, "read_sentences", counting)
    # A text that no other run has read: what is known of it is kept.
    own = {"checks/tables.sql": f"-- {built.database}\n{FIRST['checks/tables.sql']}"}
    for _ in range(2):
        assert verified(built, settings, own).exit_code == 0
        assert read == ["checks/tables.sql"]


# --- where there is no place ------------------------------------------------------------------


def test_without_a_place_it_says_so_in_all_eight_lines_and_ends_with_2(
    built: Target, settings: Settings, server: Target
) -> None:
    not_possible(built)
    report = verified(built, here(settings, server))
    assert outcomes(report) == "ok, not possible, skipped, ok, ok, skipped, not possible, ok"
    assert report.exit_code == 2
    why = "not possible: the private server lacks the extension unheard_of; "
    assert line(report, "rebuild").summary.startswith(why)
    assert line(report, "drift").summary.startswith(why)
    assert line(report, "checks").summary == "1 hold of the target"


def test_without_a_place_and_with_pending_files_no_check_is_asked(
    built: Target, settings: Settings, server: Target
) -> None:
    not_possible(built)
    report = verified(built, here(settings, server), SECOND)
    assert outcomes(report) == "ok, not possible, skipped, ok, skipped, skipped, not possible, ok"


def test_a_scratch_server_that_does_not_answer_makes_it_not_possible(
    built: Target, settings: Settings
) -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    nowhere = replace(settings, scratch=DatabaseChoice(source="HEADWATER_SCRATCH_URL", url=url))
    report = verified(built, nowhere)
    assert outcomes(report) == "ok, not possible, skipped, ok, ok, ok, skipped, ok"
    assert report.exit_code == 2
    assert "no connection to nothing" in only_finding(report, "rebuild").message


def test_a_file_that_reaches_beyond_its_database_is_not_run(
    target: Target, settings: Settings
) -> None:
    escaped = f"escaped_{target.database}"
    statement = f"-- headwater: no-transaction\ncreate database {escaped};\n"
    folder_with(settings, FIRST | {"20250102_second.sql": statement})
    report = verified(target, settings)
    assert outcomes(report) == "ok, not possible, skipped, ok, skipped, ok, not possible, ok"
    assert only_finding(report, "rebuild").line == 2
    assert query(target, f"select from pg_database where datname = '{escaped}'") == []


def test_roles_are_made_in_scratch_only_where_nobody_else_has_any(
    target: Target, settings: Settings, server: Target
) -> None:
    role = f"made_{target.database}"
    folder_with(settings, FIRST | {"20250102_second.sql": f"create role {role};\n"})
    shared = DatabaseChoice(source="HEADWATER_SCRATCH_URL", url=server.conninfo)
    report = verified(target, replace(settings, scratch=shared))
    assert line(report, "rebuild").outcome is Outcome.IMPOSSIBLE
    finding = only_finding(report, "rebuild")
    assert (finding.file, finding.line) == ("20250102_second.sql", 1)
    assert finding.hint.startswith("wrap it in a DO block that looks first")
    assert query(server, f"select from pg_roles where rolname = '{role}'") == []
    looks_first = f"""
        do $$ begin
            if not exists (select from pg_roles where rolname = '{role}') then
                create role {role};
            end if;
        end $$;
        """
    try:
        report = verified(
            target, replace(settings, scratch=shared), {"20250102_second.sql": looks_first}
        )
        assert outcomes(report) == ALL_OK
    finally:
        query(server, f"drop role if exists {role}")


# --- drift ------------------------------------------------------------------------------------


def test_the_schema_public_can_be_the_managed_one(target: Target, settings: Settings) -> None:
    settings = replace(settings, schemas=("public",))
    migrated(target, settings, {"20250101_first.sql": "create table public.a (id int);\n"})
    assert outcomes(verified(target, settings)) == ALL_OK
    query(target, "create table public.b (); alter table public.a alter id set default 1")
    assert differences(verified(target, settings)) == [
        "column public.a.id: default (none) -> 1",
        "table public.b: in the database, not in the files",
    ]


def test_a_schema_that_nobody_manages_is_named_and_no_drift(
    built: Target, settings: Settings
) -> None:
    query(built, "create schema theirs; create table theirs.t (); create table public.p ()")
    report = verified(built, settings)
    assert outcomes(report) == ALL_OK
    assert line(report, "drift").summary == (
        "the database is what the files build (not managed: public, theirs)"
    )


def test_an_extension_of_another_version_and_one_too_many_are_drift(
    target: Target, settings: Settings
) -> None:
    with_cube = "create schema app;\ncreate extension cube schema app version '1.4';\n"
    migrated(target, settings, {"20250101_first.sql": with_cube})
    assert outcomes(verified(target, settings)) == ALL_OK
    query(target, "alter extension cube update to '1.5'; create extension lo schema app")
    found = differences(verified(target, settings))
    assert "extension cube: version 1.4 -> 1.5" in found
    assert "extension lo: in the database, not in the files" in found


def test_what_the_role_may_not_read_is_told_as_a_weaker_proof(
    built: Target, settings: Settings, server: Target
) -> None:
    role = f"small_{built.database}"
    query(built, f"create role {role} login password 'x'")
    try:
        query(built, f"grant usage on schema app to {role}")
        query(built, f"grant select on app.a, public.schema_migrations to {role}")
        query(built, f"grant select on public.schema_migrations_steps to {role}")
        url = conninfo.make_conninfo(built.conninfo, user=role, password="x")
        shared = DatabaseChoice(source="HEADWATER_SCRATCH_URL", url=server.conninfo)
        report = verified(
            replace(built, user=role, conninfo=url), replace(settings, scratch=shared)
        )
        assert line(report, "drift").summary.endswith(
            "; a weaker proof: the role may not read all of pg_subscription, pg_user_mapping"
        )
    finally:
        query(built, f"drop owned by {role}; drop role {role}")


# --- the order of history ---------------------------------------------------------------------

VIEW = {
    "20250102_later.sql": "create or replace function app.f() returns int language sql as "
    "'select 2';\n"
}
LATE = {
    "20250101_late.sql": "create or replace function app.f() returns int language sql as "
    "'select 1';\n"
}


def applied_late(
    target: Target, settings: Settings, before: Files, late: Files, base: Files = FIRST
) -> None:
    """Apply some files, and then others that stand before them by name."""
    migrated(target, settings, base | before)
    write_files(settings.migrations, late)
    folder = read_folder(settings.migrations)
    names = frozenset(name.removesuffix(".sql") for name in late)
    assert len(migrate(target, folder, settings, out_of_order=names).results) == len(late)


def test_an_order_that_gives_another_schema_is_found(target: Target, settings: Settings) -> None:
    applied_late(target, settings, VIEW, LATE)
    report = verified(target, settings)
    finding = only_finding(report, "files")
    assert finding.rule == "order"
    assert finding.file == "20250101_late.sql"
    assert finding.message == (
        "the order of names and the order of history build different schemas: function app.f()"
    )
    assert line(report, "files").summary == "1 problem"
    assert outcomes(report) == "found, ok, ok, ok, ok, ok, found, ok"
    assert report.exit_code == 1


def test_an_order_that_gives_the_same_schema_is_fine(target: Target, settings: Settings) -> None:
    late = {"20250101_late.sql": "create table app.b ();\n"}
    more = {"20250103_more.sql": "create table app.c ();\n"}
    applied_late(target, settings, VIEW | more, late)
    assert outcomes(verified(target, settings)) == ALL_OK


def test_an_order_in_which_the_files_do_not_build_is_found(
    target: Target, settings: Settings
) -> None:
    # As if its schema had been there by hand, and the file that makes it had come afterwards.
    applied_late(target, settings, VIEW, {"20250101_late.sql": "create table app.b ();\n"})
    query(
        target,
        "update public.schema_migrations set applied_at = now() + interval '1 day' "
        "where version = '20250101_first'",
    )
    finding = only_finding(verified(target, settings), "files")
    assert finding.rule == "order"
    assert finding.message.startswith(
        "the files do not build in the order in which they were applied: 20250102_later.sql:1"
    )


def test_a_second_build_is_made_only_where_the_orders_differ(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FIRST | VIEW)
    assert said(target, settings) == ["building a scratch database from the files"]
    query(
        target,
        "update public.schema_migrations set applied_at = applied_at - interval '1 day' "
        "where version = '20250102_later'",
    )
    assert said(target, settings)[1:] == ["building another one in the order of history"]


def said(target: Target, settings: Settings) -> list[str]:
    messages = list[str]()

    def listen(event: Event) -> None:
        if isinstance(event, Said):
            messages.append(event.message)

    verify(target, read_folder(settings.migrations), settings, notify=listen)
    return messages


def test_rows_of_one_moment_keep_their_order() -> None:
    rows = [Applied(version=version, checksum="") for version in ("a", "c", "b")]
    assert order_of_history(rows) == ("a", "c", "b")


# --- nothing is written -----------------------------------------------------------------------

WRITER = """
create table app.calls (id int);
create function app.writes() returns boolean language plpgsql as
    'begin insert into app.calls values (1); return true; end';
"""


@pytest.mark.parametrize(
    ("query_text", "refused"),
    [
        ("select app.writes()", "INSERT"),
        ("select exists (select from app.a for update)", "SELECT FOR UPDATE"),
        ("select count(*) = 0 from (select from app.a for share) locked", "SELECT FOR SHARE"),
        ("select nextval('app.numbers') > 0", "nextval()"),
    ],
)
def test_a_check_that_writes_is_refused_on_either_side(
    target: Target, settings: Settings, query_text: str, refused: str
) -> None:
    files = {
        "20250101_first.sql": FIRST["20250101_first.sql"] + "create sequence app.numbers;" + WRITER,
        "checks/w.sql": f'select ({query_text}) as "it holds";\n',
    }
    migrated(target, settings, files)
    report = verified(target, settings)
    assert outcomes(report) == "ok, ok, ok, ok, found, ok, ok, ok"
    rebuilt, on_target = (finding.message for finding in line(report, "checks").findings)
    answer = f"“it holds” could not be asked: cannot execute {refused} in a read-only transaction"
    assert rebuilt == f"in the rebuilt schema: {answer}"
    assert on_target == f"on the target: {answer}"
    assert value(target, "select count(*) from app.calls") == 0
    assert value(target, "select is_called from app.numbers") is False


def test_a_check_that_allows_writing_does_not_allow_it_to_the_next(
    target: Target, settings: Settings
) -> None:
    allow = "set_config('default_transaction_read_only', 'off', false) = 'off'"
    checks = f'select {allow} as "one may write";\nselect app.writes() as "one has written";\n'
    migrated(
        target,
        settings,
        {
            "20250101_first.sql": FIRST["20250101_first.sql"] + WRITER,
            "checks/w.sql": checks,
        },
    )
    report = verified(target, settings)
    assert [f.line for f in line(report, "checks").findings] == [2, 2]
    assert value(target, "select count(*) from app.calls") == 0


def test_a_data_changing_part_deeper_in_a_check_is_refused(
    built: Target, settings: Settings
) -> None:
    text = "with gone as (delete from app.a returning 1) select count(*) = 0 from gone"
    query(built, "insert into app.a values (1)")
    report = verified(built, settings, {"checks/w.sql": f'select ({text}) as "it holds";\n'})
    assert report.exit_code == 1
    # The server allows it at the top alone, and says so; reading the file may say it earlier.
    assert Outcome.FOUND in {line(report, "files").outcome, line(report, "checks").outcome}
    assert value(built, "select count(*) from app.a") == 1


# --- the connection goes ----------------------------------------------------------------------


def test_a_check_that_ends_its_own_session_does_not_end_the_report(
    built: Target, settings: Settings
) -> None:
    check = 'select pg_terminate_backend(pg_backend_pid()) as "it survives";\n'
    report = verified(built, settings, {"checks/aaa.sql": check})
    assert outcomes(report) == "ok, ok, ok, ok, found, ok, ok, ok"
    messages = [finding.message for finding in line(report, "checks").findings]
    assert len(messages) == 4
    assert "“it survives” could not be asked: terminating connection" in messages[0]
    assert "“no row is negative” could not be asked: the connection is closed" in messages[1]


def end_sessions(target: Target) -> None:
    """End every session of verify in the target, as a network would."""
    query(
        target,
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where application_name = 'headwater verify' and datname = current_database()",
    )


def losing(
    monkeypatch: pytest.MonkeyPatch,
    *,
    which: str,
    where: Sequence[ModuleType] = (proof, building, rebuilding),
) -> None:
    """Let a real connection that one of these modules opens be lost as soon as it is open."""

    @contextmanager
    def open_and_lose(target: Target, *, purpose: str) -> Generator[Connection]:
        with connect(target, purpose=purpose) as connection:
            if target.source == which:
                end_sessions(target)
            yield connection

    for module in where:
        monkeypatch.setattr(module, "connect", open_and_lose)


def test_a_target_that_is_lost_at_once_is_unreachable(
    built: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, which="test")
    with pytest.raises(Unreachable, match="which session this is: the connection was lost"):
        verified(built, settings)


def test_a_target_that_is_lost_meanwhile_is_unreachable(built: Target, settings: Settings) -> None:
    def lose(event: Event) -> None:
        end_sessions(built)

    with pytest.raises(Unreachable, match="the connection was lost") as caught:
        verify(built, read_folder(settings.migrations), settings, notify=lose)
    assert not isinstance(caught.value, psycopg.Error)
    assert caught.value.exit_code == 2


def test_a_target_that_is_lost_before_its_checks_is_unreachable(
    built: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = proof._broken_there

    def lose(*arguments: object) -> object:
        end_sessions(built)
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(proof, "_broken_there", lose)
    with pytest.raises(Unreachable, match="asking the checks: the connection was lost"):
        verified(built, settings)


def test_a_scratch_database_that_is_lost_is_a_line_of_the_report(
    built: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not while it is built, and read, which happens where the template has been swept since.
    losing(monkeypatch, which="scratch database", where=[proof])
    # A check that never held of what was built before: somebody must enter it.
    own = {"checks/own.sql": f'select true as "{built.database} is there";'}
    report = verified(built, settings, own)
    assert outcomes(report) == "ok, not possible, skipped, ok, ok, ok, ok, ok"
    assert only_finding(report, "rebuild").message == (
        "preparing the session: the connection was lost: "
        "an administrator, or a drop of the database, ended it"
    )


def test_scratch_databases_are_gone_afterwards(built: Target, settings: Settings) -> None:
    before = own_scratch_databases(built)
    names = list[str]()

    def look(event: Event) -> None:
        names.append(type(event).__name__)

    verify(built, read_folder(settings.migrations), settings, notify=look)
    assert names == ["Said"]
    assert own_scratch_databases(built) - before == set()


def own_scratch_databases(target: Target) -> set[object]:
    """Name the scratch databases of this process; others' tests run, and drop, beside this one."""
    return set(
        query(
            target,
            "select datname from pg_database where datname like 'headwater_scratch_%' "
            "and shobj_description(oid, 'pg_database') "
            f"like '%process {os.getpid()} %'",
        )
    )
