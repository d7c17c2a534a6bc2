"""Repair and baseline: nothing is claimed that was not proved, and no claim is half there."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from psycopg import conninfo

from headwater.checks.proof import verify
from headwater.checks.takeover import baseline, repair
from headwater.errors import FilesError, HeadwaterError, HistoryError, LockBusy, TargetError
from headwater.files.read import read_folder
from headwater.model import Event, MigrationFolder, Said, State, Target
from headwater.postgres.connect import connect
from headwater.postgres.lock import migration_lock
from headwater.postgres.run import migrate, plan_for, status
from headwater.report.changes import describe
from headwater.settings import Settings
from headwater.verdicts import Baselined, Outcome, Repair, Repaired
from tests.support import drop_templates_of, folder_with, migrated, query, recorded, value

FIRST, SECOND, THIRD = "20240101_first", "20240201_second", "20240301_third"
ONE = "create schema app;\ncreate table app.a (id int primary key);\n"
TWO = "alter table app.a add column name text;\n"
FILES = {f"{FIRST}.sql": ONE, f"{SECOND}.sql": TWO}
LATER = {f"{THIRD}.sql": "create table app.later ();\n"}


@pytest.fixture
def built(target: Target, settings: Settings) -> Target:
    """A target to which both files were applied."""
    migrated(target, settings, FILES)
    return target


def repaired(target: Target, settings: Settings, version: str) -> Repaired:
    return repair(target, read_folder(settings.migrations), settings, version)


def baselined(target: Target, settings: Settings, version: str) -> Baselined:
    return baseline(target, read_folder(settings.migrations), settings, version)


def edit(settings: Settings, text: str, version: str = SECOND) -> MigrationFolder:
    (settings.migrations / f"{version}.sql").write_text(text)
    return read_folder(settings.migrations)


def everything(target: Target) -> object:
    """Give the catalogue's word on history, and what it holds, to the byte."""
    if value(target, "select to_regclass('public.schema_migrations') is null"):
        return None
    return (
        query(target, "select t::text from public.schema_migrations t order by 1"),
        query(
            target,
            "select attname, atttypid, attnotnull from pg_attribute "
            "where attrelid = 'public.schema_migrations'::regclass order by attnum",
        ),
        value(target, "select to_regclass('public.schema_migrations_steps') is null"),
    )


def require_agreement(target: Target, settings: Settings) -> None:
    """Require that status, migrate and verify have nothing to say."""
    folder = read_folder(settings.migrations)
    assert [p.message for p in status(target, folder, settings).problems] == []
    migrate(target, folder, settings)
    report = verify(target, folder, settings)
    assert [line.outcome for line in report.lines] == [Outcome.OK] * 8, report


# --- repair: edits ----------------------------------------------------------------------------


def test_an_edit_of_comments_and_blanks_is_accepted_by_its_tokens(
    built: Target, settings: Settings
) -> None:
    # Nothing is built for it: the database may be as different from the files as it likes.
    query(built, "create table app.by_hand ()")
    folder = edit(settings, f"-- why\n{TWO}\n\n")
    done = repaired(built, settings, SECOND)
    assert (done.repair, done.proof, done.exit_code) == (Repair.COSMETIC, None, 0)
    assert status(built, folder, settings).problems == ()
    assert query(
        built, f"select checksum, how from schema_migrations where version = '{SECOND}'"
    ) == [(folder.migrations[1].checksum, "run")]


def test_a_repair_keeps_all_else_of_the_row(built: Target, settings: Settings) -> None:
    kept = "select version, applied_at, applied_by, duration_ms, out_of_order, how, fingerprint"
    before = query(built, f"{kept} from schema_migrations order by 1")
    edit(settings, f"{TWO}-- why\n")
    repaired(built, settings, SECOND)
    assert query(built, f"{kept} from schema_migrations order by 1") == before


SAME_SCHEMA = {
    "another spelling": "ALTER TABLE app.a ADD name text NULL;\n",
    "data": f"{TWO}update app.a set name = 'x';\n",
    "by way of something else": "alter table app.a add column nam text;\n"
    "alter table app.a rename column nam to name;\n",
}


@pytest.mark.parametrize("edited", SAME_SCHEMA)
def test_a_real_edit_is_accepted_when_a_rebuild_gives_the_same_schema(
    built: Target, settings: Settings, edited: str
) -> None:
    edit(settings, SAME_SCHEMA[edited])
    done = repaired(built, settings, SECOND)
    assert done.repair is Repair.SAME_SCHEMA
    assert done.proof
    assert done.proof.outcome is Outcome.OK
    require_agreement(built, settings)


def test_an_edit_that_was_made_by_hand_as_well_is_accepted(
    built: Target, settings: Settings
) -> None:
    query(built, "alter table app.a alter column name set default 'x'")
    edit(settings, "alter table app.a add column name text default 'x';\n")
    assert repaired(built, settings, SECOND).repair is Repair.SAME_SCHEMA
    require_agreement(built, settings)


def test_an_edit_that_builds_another_schema_changes_nothing_and_shows_what_differs(
    built: Target, settings: Settings
) -> None:
    edit(settings, "alter table app.a add column name varchar(9);\n")
    before = everything(built)
    done = repaired(built, settings, SECOND)
    assert (done.repair, done.exit_code, done.changed) == (Repair.ANOTHER_SCHEMA, 1, False)
    assert done.proof
    assert [describe(change) for change in done.proof.changes] == [
        "column app.a.name: type character varying(9) -> text"
    ]
    assert everything(built) == before


def test_an_edit_that_does_not_build_changes_nothing_and_says_where(
    built: Target, settings: Settings
) -> None:
    edit(settings, "alter table app.nowhere add column name text;\n")
    before = everything(built)
    done = repaired(built, settings, SECOND)
    assert done.repair is Repair.ANOTHER_SCHEMA
    assert done.proof
    assert done.proof.outcome is Outcome.FAILED
    assert f"{SECOND}.sql:1" in done.proof.findings[0].message
    assert everything(built) == before


def test_an_edit_that_could_not_run_is_refused(built: Target, settings: Settings) -> None:
    edit(settings, f"{TWO}commit;\n")
    before = everything(built)
    with pytest.raises(FilesError, match="1 problem in the migrations"):
        repaired(built, settings, SECOND)
    assert everything(built) == before


def test_what_is_pending_is_no_part_of_the_proof(built: Target, settings: Settings) -> None:
    folder_with(settings, FILES | LATER)
    edit(settings, SAME_SCHEMA["another spelling"])
    assert repaired(built, settings, SECOND).repair is Repair.SAME_SCHEMA
    assert recorded(built, settings) == [FIRST, SECOND]


def test_two_edits_are_repaired_one_by_one(built: Target, settings: Settings) -> None:
    edit(settings, SAME_SCHEMA["another spelling"])
    edit(settings, "create schema app; create table app.a (id int, primary key (id));", FIRST)
    assert repaired(built, settings, SECOND).repair is Repair.SAME_SCHEMA
    [problem] = status(built, read_folder(settings.migrations), settings).problems
    assert problem.file == f"{FIRST}.sql"
    assert repaired(built, settings, FIRST).repair is Repair.SAME_SCHEMA
    require_agreement(built, settings)


def test_a_checksum_of_an_unknown_rule_is_repaired_by_proof(
    built: Target, settings: Settings
) -> None:
    query(built, f"update schema_migrations set checksum = 'sha256-2:x' where version = '{SECOND}'")
    folder = read_folder(settings.migrations)
    assert status(built, folder, settings).entries[1].state is State.UNKNOWN_RULE
    assert repaired(built, settings, SECOND).repair is Repair.SAME_SCHEMA
    require_agreement(built, settings)


def test_nothing_to_repair_is_no_error(built: Target, settings: Settings) -> None:
    before = everything(built)
    done = repaired(built, settings, SECOND)
    assert (done.repair, done.changed, done.exit_code) == (Repair.NOTHING, False, 0)
    assert everything(built) == before


# --- repair: renamed files --------------------------------------------------------------------


@pytest.mark.parametrize("named", [SECOND, "20240202_renamed"], ids=["old name", "new name"])
def test_a_renamed_file_takes_its_row_along(built: Target, settings: Settings, named: str) -> None:
    kept = "select checksum, tokens, applied_at, duration_ms, how from schema_migrations"
    before = query(built, f"{kept} order by version")
    folder_with(settings, {f"{FIRST}.sql": ONE, "20240202_renamed.sql": TWO})
    done = repaired(built, settings, named)
    assert (done.repair, done.now) == (Repair.RENAMED, "20240202_renamed")
    assert recorded(built, settings) == [FIRST, "20240202_renamed"]
    assert query(built, f"{kept} order by version") == before
    require_agreement(built, settings)


def test_a_row_with_two_files_wants_the_new_name(built: Target, settings: Settings) -> None:
    folder_with(settings, {f"{FIRST}.sql": ONE, "20240202_one.sql": TWO, "20240203_two.sql": TWO})
    with pytest.raises(HistoryError, match="20240202_one and 20240203_two") as caught:
        repaired(built, settings, SECOND)
    assert caught.value.hint == "say which it is: invoke history.repair 20240202_one"
    assert recorded(built, settings) == [FIRST, SECOND]
    repaired(built, settings, "20240203_two")
    assert recorded(built, settings) == [FIRST, "20240203_two"]


def test_two_rows_with_one_file_want_the_old_name(built: Target, settings: Settings) -> None:
    query(
        built,
        "insert into schema_migrations (version, checksum, tokens) select '20240115_tampered', "
        f"checksum, tokens from schema_migrations where version = '{SECOND}'",
    )
    folder_with(settings, {f"{FIRST}.sql": ONE, "20240202_renamed.sql": TWO})
    with pytest.raises(HistoryError, match=f"20240115_tampered and {SECOND}"):
        repaired(built, settings, "20240202_renamed")
    repaired(built, settings, SECOND)
    assert recorded(built, settings) == [FIRST, "20240115_tampered", "20240202_renamed"]
    with pytest.raises(HistoryError, match="20240115_tampered is missing"):
        repaired(built, settings, "20240115_tampered")


# --- repair: what it cannot do ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "words", "advice"),
    [
        (FIRST, "is missing", "version control"),
        ("20250101_gone", "is missing", "by a new migration"),
        ("20260101_last", "is pending", "invoke status"),
        ("20240102_late", "is out of order", "--out-of-order 20240102_late"),
        ("nope", "there is no migration 'nope'", "invoke status"),
    ],
)
def test_what_is_neither_edited_nor_renamed_is_refused(
    built: Target, settings: Settings, version: str, words: str, advice: str
) -> None:
    query(
        built,
        "insert into schema_migrations (version, checksum) "
        f"values ('20250101_gone', 'sha256-1:{'0' * 64}')",
    )
    late = {"20240102_late.sql": "create table app.late ();"}
    last = {"20260101_last.sql": "create table app.last ();"}
    folder_with(settings, {f"{SECOND}.sql": TWO} | late | last)
    before = everything(built)
    with pytest.raises(HistoryError) as caught:
        repaired(built, settings, version)
    assert words in caught.value.message
    assert advice in caught.value.hint
    assert everything(built) == before


def test_nothing_is_proved_while_an_applied_file_is_missing(
    built: Target, settings: Settings
) -> None:
    folder_with(settings, {f"{SECOND}.sql": SAME_SCHEMA["another spelling"]})
    before = everything(built)
    with pytest.raises(HistoryError, match="1 applied version without a file") as caught:
        repaired(built, settings, SECOND)
    assert caught.value.findings[0].file == f"{FIRST}.sql"
    assert "version control" in caught.value.findings[0].hint
    assert everything(built) == before


# --- baseline ---------------------------------------------------------------------------------


def by_hand(target: Target, *, also: str = "") -> None:
    query(target, f"{ONE}{TWO}{also}")


def test_a_database_that_was_built_by_hand_is_taken_over(
    target: Target, settings: Settings
) -> None:
    by_hand(target)
    folder_with(settings, FILES | LATER)
    done = baselined(target, settings, SECOND)
    assert (done.recorded, done.kept, done.exit_code) == ((FIRST, SECOND), (), 0)
    assert query(target, "select distinct how, tokens like 'tok-1:%' from schema_migrations") == [
        ("baseline", True)
    ]
    require_agreement(target, settings)
    assert recorded(target, settings) == [FIRST, SECOND, THIRD]


def test_a_database_that_differs_is_not_taken_over_and_what_differs_is_shown(
    target: Target, settings: Settings
) -> None:
    by_hand(target, also="alter table app.a add column colour text")
    folder_with(settings, FILES)
    done = baselined(target, settings, SECOND)
    assert (done.recorded, done.exit_code) == ((), 1)
    assert done.proof
    assert [describe(change) for change in done.proof.changes] == [
        "column app.a.colour: in the database, not in the files"
    ]
    assert everything(target) is None


@pytest.mark.parametrize("version", [FIRST, THIRD], ids=["too early", "too late"])
def test_another_version_than_the_one_it_was_built_from_is_not_proved(
    target: Target, settings: Settings, version: str
) -> None:
    by_hand(target)
    folder_with(settings, FILES | LATER)
    assert baselined(target, settings, version).exit_code == 1
    assert everything(target) is None


def test_an_empty_history_is_filled(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    query(target, "delete from schema_migrations")
    assert baselined(target, settings, SECOND).recorded == (FIRST, SECOND)
    require_agreement(target, settings)


def test_only_what_history_lacks_is_recorded(built: Target, settings: Settings) -> None:
    migrated(built, settings, FILES | LATER)
    query(built, f"delete from schema_migrations where version = '{SECOND}'")
    done = baselined(built, settings, SECOND)
    assert done.recorded == (SECOND,)
    assert query(built, "select version, how from schema_migrations order by 1") == [
        (FIRST, "run"),
        (SECOND, "baseline"),
        (THIRD, "run"),
    ]
    require_agreement(built, settings)


def test_nothing_to_record_takes_no_proof(built: Target, settings: Settings) -> None:
    before = everything(built)
    done = baselined(built, settings, SECOND)
    assert (done.recorded, done.proof, done.exit_code) == ((), None, 0)
    assert everything(built) == before


@pytest.mark.parametrize("version", ["nope", "20240201", ""])
def test_an_unknown_version_is_refused(target: Target, settings: Settings, version: str) -> None:
    by_hand(target)
    folder_with(settings, FILES)
    with pytest.raises(HistoryError, match=f"there is no migration '{version}'"):
        baselined(target, settings, version)
    assert everything(target) is None


def test_an_edited_row_is_to_be_repaired_first(built: Target, settings: Settings) -> None:
    folder_with(settings, FILES | LATER)
    edit(settings, f"{TWO}-- why\n")
    with pytest.raises(HistoryError, match="disagree in 1 place; nothing was changed") as caught:
        baselined(built, settings, THIRD)
    assert "history.repair" in caught.value.findings[0].hint
    assert recorded(built, settings) == [FIRST, SECOND]


def test_a_hand_built_database_of_another_owner_is_taken_over_by_that_role(
    target: Target, settings: Settings, server: Target
) -> None:
    role = f"headwater_test_owner_{target.database[-12:]}"
    query(target, f"create role {role} superuser login password 'x'")
    try:
        with connect(target, purpose="test") as connection:
            connection.execute(f"set role {role}".encode())
            connection.execute(f"{ONE}{TWO}".encode())
        theirs = replace(
            target, user=role, conninfo=conninfo.make_conninfo(target.conninfo, user=role,
                                                               password="x")
        )  # fmt: skip
        folder_with(settings, FILES)
        assert baselined(theirs, settings, SECOND).exit_code == 0
        assert value(target, "select distinct applied_by from schema_migrations") == role
    finally:
        drop_templates_of(target, role)
        query(target, f"drop owned by {role}")
        query(target, f"drop role {role}")


# --- baseline: an older table -----------------------------------------------------------------

OLDER = (
    "create table public.schema_migrations (version text primary key, filename text not null, "
    "applied_at timestamptz not null default now());"
    "insert into public.schema_migrations values "
    f"('20240101', '{FIRST}.sql', '2024-01-02 03:04:05+00'), "
    f"('20240201', '{SECOND}.sql', '2024-02-03 04:05:06+00');"
)


def test_the_older_table_is_refused_by_migrate_with_the_way_to_take_it_over(
    target: Target, settings: Settings
) -> None:
    query(target, OLDER)
    folder = folder_with(settings, FILES)
    with pytest.raises(HistoryError, match="was made by another tool") as caught:
        status(target, folder, settings)
    assert "invoke history.baseline VERSION" in caught.value.hint


def test_an_older_table_is_taken_over_and_its_rows_are_kept(
    target: Target, settings: Settings
) -> None:
    by_hand(target)
    query(target, OLDER)
    folder_with(settings, FILES | LATER)
    done = baselined(target, settings, SECOND)
    assert (done.recorded, done.kept, done.exit_code) == ((), (FIRST, SECOND), 0)
    assert query(
        target, "select version, filename, applied_at::date::text, how from schema_migrations"
    ) == [
        (FIRST, f"{FIRST}.sql", "2024-01-02", "baseline"),
        (SECOND, f"{SECOND}.sql", "2024-02-03", "baseline"),
    ]
    require_agreement(target, settings)
    assert recorded(target, settings) == [FIRST, SECOND, THIRD]


def test_files_that_an_older_table_lacks_are_recorded_beside_its_rows(
    target: Target, settings: Settings
) -> None:
    by_hand(target)
    query(target, OLDER)
    query(target, "delete from schema_migrations where version = '20240201'")
    folder_with(settings, FILES)
    done = baselined(target, settings, SECOND)
    assert (done.recorded, done.kept) == ((SECOND,), (FIRST,))
    require_agreement(target, settings)


def test_rows_of_an_older_table_beyond_the_version_are_part_of_the_proof(
    target: Target, settings: Settings
) -> None:
    by_hand(target)
    query(target, OLDER)
    folder_with(settings, FILES)
    assert baselined(target, settings, FIRST).exit_code == 0
    require_agreement(target, settings)


def test_an_older_table_of_a_database_that_differs_stays_as_it_was(
    target: Target, settings: Settings
) -> None:
    by_hand(target, also="create table app.by_hand ()")
    query(target, OLDER)
    before = everything(target)
    folder_with(settings, FILES)
    done = baselined(target, settings, SECOND)
    assert (done.recorded, done.kept, done.exit_code) == ((), (), 1)
    assert everything(target) == before


def test_a_row_without_a_file_is_named_and_the_older_table_stays(
    target: Target, settings: Settings
) -> None:
    by_hand(target)
    query(target, OLDER)
    query(target, "insert into schema_migrations values ('20230101', '20230101_gone.sql')")
    before = everything(target)
    folder_with(settings, FILES)
    with pytest.raises(HistoryError, match="1 row of the older history") as caught:
        baselined(target, settings, SECOND)
    assert "'20230101_gone.sql': there is no such file" in caught.value.findings[0].message
    assert everything(target) == before


# --- faults: what is claimed is whole, or not there -------------------------------------------


def during(target: Target, settings: Settings, statement: str) -> HeadwaterError | Baselined:
    """Take a database over, and run a statement on it while the scratch database is built."""

    def meanwhile(event: Event) -> None:
        if isinstance(event, Said) and "scratch" in event.message:
            query(target, statement)

    try:
        return baseline(
            target, read_folder(settings.migrations), settings, SECOND, notify=meanwhile
        )
    except HeadwaterError as error:
        return error


OURS = "application_name in ('headwater {}') and datname = current_database()"
END = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where " + OURS


@pytest.mark.parametrize("older", [True, False], ids=["older table", "no table"])
@pytest.mark.parametrize("lost", ["baseline", "lock"])
def test_a_connection_that_is_lost_leaves_everything_as_it_was(
    target: Target, settings: Settings, lost: str, older: bool
) -> None:
    by_hand(target)
    if older:
        query(target, OLDER)
    before = everything(target)
    folder_with(settings, FILES)
    end = during(target, settings, END.format(lost))
    assert isinstance(end, LockBusy if lost == "lock" else TargetError)
    assert everything(target) == before
    assert baselined(target, settings, SECOND).exit_code == 0
    require_agreement(target, settings)


def test_what_somebody_changes_while_it_is_proved_is_seen(
    target: Target, settings: Settings
) -> None:
    by_hand(target)
    folder_with(settings, FILES)
    end = during(target, settings, "alter table app.a add column sneaked text")
    assert isinstance(end, Baselined)
    assert end.exit_code == 1
    assert everything(target) is None


def test_a_row_that_somebody_writes_while_it_is_proved_stops_it(
    target: Target, settings: Settings
) -> None:
    by_hand(target)
    query(target, OLDER)
    folder_with(settings, FILES | LATER)
    sneaked = f"insert into public.schema_migrations values ('{THIRD}', '{THIRD}.sql')"
    end = during(target, settings, sneaked)
    assert isinstance(end, HistoryError)
    assert "was changed meanwhile" in end.message
    assert not value(target, "select to_regclass('schema_migrations_steps') is not null")


def test_a_repair_stops_when_the_row_changes_while_it_is_proved(
    built: Target, settings: Settings
) -> None:
    edit(settings, SAME_SCHEMA["another spelling"])
    change = f"update schema_migrations set checksum = 'x' where version = '{SECOND}'"
    with pytest.raises(HistoryError, match=r"0 rows of .* are what was read"):
        repair(
            built,
            read_folder(settings.migrations),
            settings,
            SECOND,
            notify=lambda _: bool(query(built, change)),  # type: ignore[arg-type]
        )
    assert value(built, f"select checksum from schema_migrations where version = '{SECOND}'") == "x"


def test_while_a_runner_works_nothing_is_claimed(built: Target, settings: Settings) -> None:
    edit(settings, f"{TWO}-- why\n")
    before = everything(built)
    impatient = replace(settings, wait_lock_ms=100)
    with migration_lock(built, settings):
        for claim in (repaired, baselined):
            with pytest.raises(LockBusy, match="another runner works"):
                claim(built, impatient, SECOND)
    assert everything(built) == before


def test_a_runner_waits_until_the_database_is_taken_over(
    target: Target, settings: Settings
) -> None:
    by_hand(target)
    folder = folder_with(settings, FILES)
    runs = list[tuple[str, ...]]()

    def run() -> None:
        done = migrate(target, folder, settings)
        runs.append(tuple(result.version for result in done.results))

    runner = threading.Thread(target=run)

    def meanwhile(event: Event) -> None:
        if not runner.ident:
            runner.start()

    baseline(target, folder, settings, SECOND, notify=meanwhile)
    runner.join(20)
    assert runs == [()]


@pytest.mark.parametrize("claim", ["repair", "baseline"])
def test_a_read_only_server_is_told_and_nothing_changes(
    built: Target, settings: Settings, claim: str
) -> None:
    folder_with(settings, FILES | LATER)
    if claim == "repair":
        edit(settings, f"{TWO}-- why\n")
    else:
        query(built, f"delete from schema_migrations where version = '{SECOND}'")
    before = everything(built)
    query(built, f"alter database {built.database} set default_transaction_read_only = on")
    with pytest.raises(TargetError, match="read-only"):
        (repaired if claim == "repair" else baselined)(built, settings, SECOND)
    assert everything(built) == before


def test_a_role_without_rights_is_told_and_nothing_changes(
    built: Target, settings: Settings
) -> None:
    edit(settings, f"{TWO}-- why\n")
    role = f"headwater_test_low_{built.database[-12:]}"
    query(built, f"create role {role} login password 'x'")
    try:
        query(built, f"grant select on schema_migrations, schema_migrations_steps to {role}")
        url = conninfo.make_conninfo(built.conninfo, user=role, password="x")
        before = everything(built)
        with pytest.raises(TargetError, match=f"repairing {SECOND}: the role lacks a right"):
            repaired(replace(built, user=role, conninfo=url), settings, SECOND)
        assert everything(built) == before
    finally:
        query(built, f"drop owned by {role}; drop role {role}")


def test_without_a_place_for_a_scratch_database_nothing_is_claimed(
    built: Target, settings: Settings
) -> None:
    edit(settings, SAME_SCHEMA["another spelling"])
    query(built, f'comment on database "{built.database}" is null')
    query(built, "update pg_extension set extname = 'unheard_of' where extname = 'plpgsql'")
    before = everything(built)
    with pytest.raises(TargetError, match="not possible without a scratch database") as caught:
        repaired(built, settings, SECOND)
    assert "HEADWATER_SCRATCH_URL" in caught.value.detail
    assert everything(built) == before


def test_files_that_reach_beyond_their_database_are_not_built_for_a_proof(
    built: Target, settings: Settings
) -> None:
    edit(settings, f"-- headwater: no-transaction\n{TWO}alter system set work_mem = '4MB';\n")
    before = everything(built)
    with pytest.raises(TargetError, match="not possible without a scratch database") as caught:
        repaired(built, settings, SECOND)
    assert f"{SECOND}.sql:3" in caught.value.detail
    assert everything(built) == before
    with connect(built, purpose="test") as connection:
        assert plan_for(connection, read_folder(settings.migrations), settings).problems
