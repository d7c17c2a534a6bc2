"""Rollback: the last applied first, each wholly or not at all, with its row of history."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from psycopg.conninfo import make_conninfo

from headwater.errors import (
    FilesError,
    HalfDone,
    HistoryError,
    LockBusy,
    MigrationFailed,
    SettingsError,
    TargetError,
    UnsafeTarget,
)
from headwater.files.read import read_folder
from headwater.model import State, Target
from headwater.postgres import transaction
from headwater.postgres.bookkeeping import mark
from headwater.postgres.lock import migration_lock
from headwater.postgres.patience import Patience
from headwater.postgres.run import migrate, status
from headwater.postgres.undo import rollback
from headwater.settings import Settings
from tests.support import folder_with, migrated, query, recorded, session, tables, value

A, B, C = "20240101_a", "20240201_b", "20240301_c"
FILES = {
    f"{A}.sql": "create schema app; create table app.a (i int);",
    f"{B}.sql": "create table app.b (i int);",
    f"{B}.down.sql": "drop table app.b;",
    f"{C}.sql": "create table app.c (i int);",
    f"{C}.down.sql": "drop table app.c;",
}
NO_TRANSACTION = "-- headwater: no-transaction\n"


def undone(
    target: Target, settings: Settings, *, to: str = "", steps: int = 0, confirm: str = ""
) -> list[str]:
    """Roll back by the files that the folder holds now; give the versions in order."""
    folder = read_folder(settings.migrations)
    outcome = rollback(target, folder, settings, to=to, steps=steps, confirm=confirm)
    return [result.version for result in outcome.results]


def states(target: Target, settings: Settings) -> list[State]:
    plan = status(target, read_folder(settings.migrations), settings)
    return [entry.state for entry in plan.entries]


# --- which ones -------------------------------------------------------------------------------


def test_the_last_migration_is_undone_with_its_record(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    assert undone(target, settings) == [C]
    assert tables(target) == ["a", "b"]
    assert recorded(target, settings) == [A, B]
    assert states(target, settings) == [State.APPLIED, State.APPLIED, State.PENDING]


def test_what_was_undone_is_applied_again_by_migrate(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    undone(target, settings, steps=2)
    folder = read_folder(settings.migrations)
    assert [r.version for r in migrate(target, folder, settings).results] == [B, C]
    assert tables(target) == ["a", "b", "c"]


def test_steps_are_undone_newest_first(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    assert undone(target, settings, steps=2) == [C, B]
    assert tables(target) == ["a"]


def test_the_version_to_go_back_to_stays(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    assert undone(target, settings, to=A) == [C, B]
    assert recorded(target, settings) == [A]
    assert undone(target, settings, to=A) == []


def test_a_late_file_is_undone_first_as_it_was_applied_last(
    target: Target, settings: Settings
) -> None:
    late = {name: FILES[name] for name in FILES if B not in name}
    migrated(target, settings, late)
    folder = folder_with(settings, FILES)
    migrate(target, folder, settings, out_of_order=frozenset({B}))
    assert undone(target, settings, steps=2) == [B, C]


def test_an_empty_history_has_nothing_to_undo(target: Target, settings: Settings) -> None:
    folder_with(settings, FILES)
    assert undone(target, settings) == []
    assert value(target, "select to_regclass('schema_migrations') is null")


def test_a_migration_without_a_down_file_stops_everything_before_it_begins(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    with pytest.raises(HistoryError) as caught:
        undone(target, settings, steps=3)
    [finding] = caught.value.findings
    assert (finding.file, finding.rule) == (f"{A}.down.sql", "no-down")
    assert recorded(target, settings) == [A, B, C]


def test_an_edited_migration_is_not_undone(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    folder_with(settings, FILES | {f"{C}.sql": "create table app.other (i int);"})
    with pytest.raises(HistoryError) as caught:
        undone(target, settings)
    assert [finding.message for finding in caught.value.findings] == ["it is edited"]
    assert tables(target) == ["a", "b", "c"]


def test_a_migration_whose_file_is_gone_is_not_passed_over(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    folder_with(settings, {name: FILES[name] for name in FILES if C not in name})
    with pytest.raises(HistoryError):
        undone(target, settings)
    assert recorded(target, settings) == [A, B, C]


def test_a_version_that_is_not_applied_is_nothing_to_go_back_to(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    with pytest.raises(HistoryError, match="20230101_x is not applied"):
        undone(target, settings, to="20230101_x")


@pytest.mark.parametrize(("to", "steps"), [(A, 1), ("", -1)])
def test_flags_that_make_no_sense_are_refused(
    target: Target, settings: Settings, to: str, steps: int
) -> None:
    migrated(target, settings, FILES)
    with pytest.raises(SettingsError):
        undone(target, settings, to=to, steps=steps)
    assert recorded(target, settings) == [A, B, C]


# --- all or nothing ---------------------------------------------------------------------------


def test_a_down_file_that_fails_leaves_its_migration_applied(
    target: Target, settings: Settings
) -> None:
    files = FILES | {f"{B}.down.sql": "drop table app.b;\ndrop table app.missing;"}
    migrated(target, settings, files)
    with pytest.raises(MigrationFailed) as caught:
        undone(target, settings, steps=2)
    assert f"{B}.down.sql:2:1" in caught.value.message
    assert "the 1 before it stay undone" in caught.value.hint
    assert recorded(target, settings) == [A, B]
    assert tables(target) == ["a", "b"]


@pytest.mark.parametrize("text", ["drop table app.c; commit;", "drop tabel app.c;", "-- nothing"])
def test_a_down_file_that_cannot_run_is_refused_before_anything_runs(
    target: Target, settings: Settings, text: str
) -> None:
    migrated(target, settings, FILES)
    folder_with(settings, FILES | {f"{B}.down.sql": text})
    with pytest.raises(FilesError) as caught:
        undone(target, settings, steps=2)
    assert [finding.file for finding in caught.value.findings] == [f"{B}.down.sql"]
    assert tables(target) == ["a", "b", "c"]


def test_a_row_that_is_not_given_up_rolls_the_undoing_back(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    keep = (
        "create function app.keep() returns trigger language plpgsql as $$ begin return null; end "
        "$$; create trigger keep before delete on public.schema_migrations for each row "
        "execute function app.keep(); drop table app.c;"
    )
    folder_with(settings, FILES | {f"{C}.down.sql": keep})
    with pytest.raises(MigrationFailed, match="did not keep the record"):
        undone(target, settings)
    assert tables(target) == ["a", "b", "c"]
    assert recorded(target, settings) == [A, B, C]


def test_a_down_file_that_takes_its_row_away_itself_is_rolled_back(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    text = f"drop table app.c; delete from public.schema_migrations where version = '{C}';"
    folder_with(settings, FILES | {f"{C}.down.sql": text})
    with pytest.raises(MigrationFailed):
        undone(target, settings)
    assert recorded(target, settings) == [A, B, C]


def test_an_undoing_that_lost_its_connection_at_commit_is_known(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deferred trigger ends the backend at COMMIT: nothing was undone, and it is said."""
    dies = (
        "create function app.dies() returns trigger language plpgsql as $$ begin "
        "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(5); return null; end $$;"
        "create constraint trigger dies after insert on app.a deferrable initially deferred "
        "for each row execute function app.dies();"
    )
    migrated(target, settings, FILES)
    query(target, dies)
    folder_with(settings, FILES | {f"{C}.down.sql": "drop table app.c; insert into app.a select 1"})
    with pytest.raises(MigrationFailed, match="connection was lost"):
        undone(target, settings)
    assert recorded(target, settings) == [A, B, C]
    assert tables(target) == ["a", "b", "c"]


def test_session_state_of_one_down_file_is_not_seen_by_the_next(
    target: Target, settings: Settings
) -> None:
    files = FILES | {
        f"{C}.down.sql": "drop table app.c; set search_path = app;",
        f"{B}.down.sql": "drop table b;",
    }
    migrated(target, settings, files)
    with pytest.raises(MigrationFailed, match='table "b" does not exist'):
        undone(target, settings, steps=2)
    assert tables(target) == ["a", "b"]


# --- without a transaction --------------------------------------------------------------------

INDEX = {
    f"{C}.sql": NO_TRANSACTION + "create index concurrently b_i on app.b (i);",
    f"{C}.down.sql": NO_TRANSACTION + "drop index concurrently app.b_i;\n"
    "insert into app.a values (1);\ninsert into app.a select 1 / i from app.b;",
}


def test_an_index_is_undone_concurrently(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES | INDEX)
    assert undone(target, settings) == [C]
    assert value(target, "select to_regclass('app.b_i') is null")
    assert recorded(target, settings) == [A, B]
    assert value(target, "select count(*) from schema_migrations_steps") == 0


def test_an_undoing_that_stopped_goes_on_where_it_was(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES | INDEX)
    query(target, "insert into app.b values (0)")
    with pytest.raises(HalfDone) as caught:
        undone(target, settings)
    assert "statements done: 2 of 3; failed: 3" in caught.value.detail
    assert states(target, settings) == [State.APPLIED, State.APPLIED, State.HALF_UNDONE]
    assert recorded(target, settings) == [A, B, C]
    query(target, "delete from app.b")
    assert undone(target, settings) == [C]
    assert value(target, "select count(*) from app.a") == 1
    assert recorded(target, settings) == [A, B]


def test_migrate_waits_for_an_undoing_that_stopped(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES | INDEX)
    query(target, "insert into app.b values (0)")
    with pytest.raises(HalfDone):
        undone(target, settings)
    folder = folder_with(settings, FILES | INDEX | {"20240401_d.sql": "create table app.d ();"})
    with pytest.raises(HistoryError) as caught:
        migrate(target, folder, settings)
    [problem] = caught.value.findings
    assert problem.message == "its undoing stopped in the middle"
    assert "invoke rollback" in problem.hint


def half_undone(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES | INDEX)
    query(target, "insert into app.b values (0)")
    with pytest.raises(HalfDone):
        undone(target, settings)


def test_an_undoing_that_has_begun_without_a_transaction_does_not_run_in_one(
    target: Target, settings: Settings
) -> None:
    half_undone(target, settings)
    folder_with(settings, FILES | INDEX | {f"{C}.down.sql": "drop index if exists app.b_i;"})
    with pytest.raises(HistoryError) as caught:
        undone(target, settings)
    assert "would run in one from its start" in caught.value.findings[0].message
    assert recorded(target, settings) == [A, B, C]


def test_an_edited_migration_that_is_half_undone_is_an_edited_one(
    target: Target, settings: Settings
) -> None:
    half_undone(target, settings)
    query(target, "delete from app.b")
    folder_with(settings, FILES | INDEX | {f"{C}.sql": "select 1;"})
    with pytest.raises(HistoryError) as caught:
        undone(target, settings)
    assert [finding.message for finding in caught.value.findings] == ["it is edited"]
    assert recorded(target, settings) == [A, B, C]


def test_a_drop_of_what_was_never_there_is_not_done_at_the_second_try(
    target: Target, settings: Settings
) -> None:
    wrong = INDEX | {f"{C}.down.sql": NO_TRANSACTION + "drop index concurrently app.b_typo;"}
    migrated(target, settings, FILES | wrong)
    for _ in range(3):
        with pytest.raises(MigrationFailed, match='"b_typo" does not exist'):
            undone(target, settings)
    assert recorded(target, settings) == [A, B, C]
    assert value(target, "select count(*) from schema_migrations_steps") == 0


def test_a_version_that_is_half_undone_cannot_stay(target: Target, settings: Settings) -> None:
    half_undone(target, settings)
    with pytest.raises(HistoryError, match="its undoing has begun"):
        undone(target, settings, to=C)


def test_an_undoing_can_be_given_up(target: Target, settings: Settings) -> None:
    half_undone(target, settings)
    query(target, "create index b_i on app.b (i); delete from app.a")
    folder = read_folder(settings.migrations)
    assert mark(target, folder, settings, C).was is State.HALF_UNDONE
    assert states(target, settings) == [State.APPLIED] * 3
    assert recorded(target, settings) == [A, B, C]
    query(target, "delete from app.b")
    assert undone(target, settings) == [C]


def test_a_file_that_stopped_in_the_middle_is_ended_before_anything_is_undone(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    half = {"20240401_d.sql": NO_TRANSACTION + "create table app.d ();\nselect 1 / 0;"}
    with pytest.raises(HalfDone):
        migrated(target, settings, FILES | half)
    with pytest.raises(HistoryError, match="20240401_d stopped in the middle"):
        undone(target, settings)
    assert tables(target) == ["a", "b", "c", "d"]


# --- where it may -----------------------------------------------------------------------------


def in_use(target: Target) -> None:
    query(target, f"comment on database {target.database} is 'shop'")


def test_where_data_matter_the_name_is_wanted(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    in_use(target)
    with pytest.raises(UnsafeTarget) as caught:
        undone(target, settings, to=A)
    command = f"invoke rollback --to {A} --confirm {target.database}"
    assert command in caught.value.hint
    with pytest.raises(UnsafeTarget):
        undone(target, settings, confirm="another")
    assert recorded(target, settings) == [A, B, C]
    assert undone(target, settings, confirm=target.database) == [C]


def test_it_waits_for_another_runner_and_gives_up_in_time(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    brief = replace(settings, wait_lock_ms=300)
    with migration_lock(target, settings), pytest.raises(LockBusy):
        undone(target, brief)
    assert recorded(target, settings) == [A, B, C]


def test_what_another_runner_undid_meanwhile_is_not_undone_twice(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    ended: list[list[str]] = []
    with migration_lock(target, settings):
        thread = threading.Thread(target=lambda: ended.append(undone(target, settings, to=B)))
        thread.start()
        thread.join(0.5)
        query(target, f"drop table app.c; delete from schema_migrations where version = '{C}'")
    thread.join(20)
    assert ended == [[]]
    assert tables(target) == ["a", "b"]


def test_of_two_that_count_steps_only_the_first_undoes_what_both_meant(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    ended: list[object] = []

    def second() -> None:
        try:
            ended.append(undone(target, settings))
        except HistoryError as error:
            ended.append(error.message)

    with migration_lock(target, settings):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.5)
        query(target, f"drop table app.c; delete from schema_migrations where version = '{C}'")
    thread.join(20)
    assert ended == ["history has changed while another runner was waited for; nothing was undone"]
    assert tables(target) == ["a", "b"]


def test_a_lock_that_is_not_to_be_had_is_tried_again_and_then_told(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(target, settings, FILES)
    monkeypatch.setattr(
        transaction, "PATIENCE", Patience(attempts=2, first_pause_s=0.01, longest_pause_s=0.01)
    )
    with session(target) as other:
        other.execute("select * from app.c")
        with pytest.raises(LockBusy, match="2 times"):
            undone(target, settings)
    assert recorded(target, settings) == [A, B, C]
    assert undone(target, settings) == [C]


def test_a_role_that_may_not_delete_from_history_is_told_before_anything_runs(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    role = f"{target.database}_app"
    query(target, f"create role {role} login password 'x'")
    try:
        query(target, f"grant select, insert, update on schema_migrations to {role}")
        query(target, f"grant select, insert, update, delete on schema_migrations_steps to {role}")
        query(target, f"grant usage on schema app to {role}; alter table app.c owner to {role}")
        theirs = replace(
            target,
            user=role,
            conninfo=make_conninfo(target.conninfo, user=role, password="x"),
        )
        with pytest.raises(TargetError, match="may not write to"):
            undone(theirs, settings, confirm=target.database)
        assert recorded(target, settings) == [A, B, C]
        query(target, f"grant delete on schema_migrations to {role}")
        assert undone(theirs, settings, confirm=target.database) == [C]
    finally:
        query(target, f"drop owned by {role}; drop role {role}")


def test_a_read_only_session_undoes_nothing(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    query(target, f"alter database {target.database} set default_transaction_read_only = on")
    with pytest.raises(TargetError, match="read-only"):
        undone(target, settings)


def test_history_of_which_the_rest_stays_is_the_history_of_the_rest(
    target: Target, settings: Settings
) -> None:
    """The rows that stay are as they were; the newest one has the fingerprint of what is left."""

    def rows() -> list[tuple[object, ...]]:
        columns = (
            "version, checksum, tokens, applied_at, applied_by, duration_ms, out_of_order, how"
        )
        return query(target, f"select {columns} from schema_migrations where version <= '{B}'")

    migrated(target, settings, FILES)
    before = rows()
    undone(target, settings)
    assert rows() == before
