"""What is written to history without running a file: wholly or not at all, under the lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from headwater.errors import (
    FilesError,
    HeadwaterError,
    HistoryError,
    LockBusy,
    OutcomeUnknown,
    TargetError,
    Unreachable,
    UnsafeTarget,
)
from headwater.files.read import read_folder
from headwater.model import State, Target
from headwater.postgres.bookkeeping import mark
from headwater.postgres.lock import migration_lock
from headwater.postgres.run import migrate, status
from headwater.settings import Settings
from tests.support import folder_with, migrated, query, recorded, session, tables, until, value

FIRST, SECOND, THIRD = "20240101_first", "20240201_second", "20240301_third"
BUILT = {f"{FIRST}.sql": "create schema app; create table app.first ();"}
BOTH = BUILT | {f"{SECOND}.sql": "create table app.second ();"}


def marked(target: Target, settings: Settings, version: str, confirm: str = "") -> State:
    """Mark a version of the files that the folder holds now."""
    folder = read_folder(settings.migrations)
    return mark(target, folder, settings, version, confirm=confirm).was


def everything(target: Target) -> object:
    """Give what history and journal hold, to the byte."""
    return [
        query(target, f"select t::text from public.schema_migrations{table} t order by 1")
        for table in ("", "_steps")
    ]


# --- mark -------------------------------------------------------------------------------------


def test_a_marked_file_is_recorded_and_never_runs(target: Target, settings: Settings) -> None:
    migrated(target, settings, BUILT)
    folder = folder_with(settings, BOTH)
    assert marked(target, settings, SECOND) is State.PENDING
    [row] = query(
        target,
        "select how, checksum, tokens like 'tok-1:%', out_of_order, duration_ms "
        f"from schema_migrations where version = '{SECOND}'",
    )
    assert row == ("marked", folder.migrations[1].checksum, True, False, None)
    assert migrate(target, folder, settings).results == ()
    assert tables(target) == ["first"]


def test_marking_the_first_file_makes_history(target: Target, settings: Settings) -> None:
    folder = folder_with(settings, BUILT)
    marked(target, settings, FIRST)
    assert recorded(target, settings) == [FIRST]
    assert status(target, folder, settings).problems == ()


def test_a_late_file_is_recorded_as_out_of_order(target: Target, settings: Settings) -> None:
    migrated(target, settings, BUILT | {f"{THIRD}.sql": "create table app.third ();"})
    folder_with(settings, BOTH | {f"{THIRD}.sql": "create table app.third ();"})
    assert marked(target, settings, SECOND) is State.OUT_OF_ORDER
    assert query(target, "select version from schema_migrations where out_of_order") == [(SECOND,)]


STEPS = {
    f"{SECOND}.sql": "-- headwater: no-transaction\n"
    "create table app.one ();\ninsert into app.first values (1/0);\n"
}


def half_done(target: Target, settings: Settings) -> None:
    migrated(target, settings, BUILT)
    with pytest.raises(HeadwaterError):
        migrated(target, settings, BUILT | STEPS)
    # As a lost connection would leave it: nobody knows whether the second one ended.
    query(
        target,
        f"insert into schema_migrations_steps (version, step, tokens, state) "
        f"values ('{SECOND}', 2, 'tok-1:', 'started') on conflict do nothing",
    )


def test_marking_a_file_that_is_half_done_ends_its_journal_in_the_same_transaction(
    target: Target, settings: Settings
) -> None:
    half_done(target, settings)
    assert marked(target, settings, SECOND) is State.HALF_DONE
    assert recorded(target, settings) == [FIRST, SECOND]
    assert value(target, "select count(*) from schema_migrations_steps") == 0


@pytest.mark.parametrize(
    ("version", "words", "advice"),
    [
        ("20240101", "there is no migration '20240101'", "invoke status"),
        ("nope", "there is no migration 'nope'", "invoke status"),
        ("", "there is no migration ''", "invoke status"),
        (FIRST, "it is applied already", "invoke status"),
        (SECOND, "it is applied already", "history.repair"),
        (THIRD, "it is applied already", "version control"),
        ("20240401_moved", "it was applied as 20240102_old", "history.repair 20240401_moved"),
    ],
)
def test_what_is_not_pending_cannot_be_marked(
    target: Target, settings: Settings, version: str, words: str, advice: str
) -> None:
    same = "create table app.moved ();"
    migrated(
        target, settings,
        BOTH | {"20240102_old.sql": same, f"{THIRD}.sql": "create table app.third ();"},
    )  # fmt: skip
    folder_with(
        settings,
        BUILT
        | {f"{SECOND}.sql": "create table app.edited ();", "20240401_moved.sql": same}
        | {"20240501_last.sql": "create table app.last ();"},
    )
    before = everything(target)
    with pytest.raises(HistoryError) as caught:
        marked(target, settings, version)
    assert words in caught.value.message
    assert advice in caught.value.hint
    assert everything(target) == before


def test_a_half_done_file_that_is_gone_cannot_be_marked(target: Target, settings: Settings) -> None:
    half_done(target, settings)
    folder_with(settings, BUILT)
    with pytest.raises(HistoryError, match="there is no file of it"):
        marked(target, settings, SECOND)


def test_a_file_that_could_not_run_cannot_be_marked(target: Target, settings: Settings) -> None:
    migrated(target, settings, BUILT)
    folder_with(settings, BUILT | {f"{SECOND}.sql": "begin; commit;"})
    with pytest.raises(FilesError, match="2 problems in the migrations"):
        marked(target, settings, SECOND)
    assert recorded(target, settings) == [FIRST]


@pytest.mark.parametrize("confirm", ["", "another"])
def test_a_database_that_is_not_disposable_wants_its_name(
    target: Target, settings: Settings, confirm: str
) -> None:
    migrated(target, settings, BUILT)
    query(target, f"comment on database {target.database} is null")
    folder_with(settings, BOTH)
    with pytest.raises(UnsafeTarget) as caught:
        marked(target, settings, SECOND, confirm)
    command = f"invoke history.mark {SECOND} --confirm {target.database}"
    assert command in caught.value.hint
    assert recorded(target, settings) == [FIRST]
    marked(target, settings, SECOND, target.database)
    assert recorded(target, settings) == [FIRST, SECOND]


def test_another_name_is_refused_even_where_none_is_needed(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, BUILT)
    folder_with(settings, BOTH)
    with pytest.raises(UnsafeTarget, match="not 'another'"):
        marked(target, settings, SECOND, "another")


# --- faults -----------------------------------------------------------------------------------


def test_a_read_only_server_is_told_and_nothing_changes(target: Target, settings: Settings) -> None:
    migrated(target, settings, BUILT)
    folder_with(settings, BOTH)
    query(target, f"alter database {target.database} set default_transaction_read_only = on")
    with pytest.raises(TargetError, match="read-only") as caught:
        marked(target, settings, SECOND)
    assert caught.value.exit_code == 2
    assert recorded(target, settings) == [FIRST]


def test_while_a_runner_works_nothing_is_marked(target: Target, settings: Settings) -> None:
    migrated(target, settings, BUILT)
    folder_with(settings, BOTH)
    impatient = replace(settings, wait_lock_ms=100)
    with (
        migration_lock(target, settings),
        pytest.raises(LockBusy, match="another runner works") as caught,
    ):
        marked(target, impatient, SECOND)
    assert "headwater lock" in caught.value.detail
    assert recorded(target, settings) == [FIRST]


def while_it_waits(
    target: Target, settings: Settings, action: Callable[[], object]
) -> HeadwaterError | None:
    """Mark while somebody holds history's table, do something meanwhile, give how it ended."""
    ends = list[HeadwaterError | None]()

    def marking() -> None:
        try:
            marked(target, replace(settings, lock_timeout_ms=20_000), SECOND)
            ends.append(None)
        except HeadwaterError as error:
            ends.append(error)

    thread = threading.Thread(target=marking)
    with session(target) as other:
        other.execute("lock table schema_migrations in share mode")
        thread.start()
        until(lambda: pid_of(target, "mark", "and wait_event_type = 'Lock'"), "waiting")
        action()
    thread.join(20)
    [end] = ends
    return end


def pid_of(target: Target, purpose: str, condition: str = "") -> list[int]:
    rows = query(
        target,
        "select pid from pg_stat_activity where datname = current_database() "
        f"and application_name = 'headwater {purpose}' {condition}",
    )
    return [row[0] for row in rows]


def terminate(target: Target, purpose: str) -> None:
    for pid in pid_of(target, purpose):
        query(target, f"select pg_terminate_backend({pid}, 5000)")


def test_a_connection_lost_before_the_commit_leaves_everything_as_it_was(
    target: Target, settings: Settings
) -> None:
    half_done(target, settings)
    before = everything(target)
    end = while_it_waits(target, settings, lambda: terminate(target, "mark"))
    assert isinstance(end, Unreachable)
    assert everything(target) == before
    marked(target, settings, SECOND)
    assert recorded(target, settings) == [FIRST, SECOND]


def test_without_the_lock_nothing_is_committed(target: Target, settings: Settings) -> None:
    half_done(target, settings)
    before = everything(target)
    end = while_it_waits(target, settings, lambda: terminate(target, "lock"))
    assert isinstance(end, LockBusy)
    assert "nothing was changed" in end.message
    assert everything(target) == before


def test_a_connection_lost_at_the_commit_is_an_unknown_outcome(
    target: Target, settings: Settings
) -> None:
    half_done(target, settings)
    before = everything(target)
    query(
        target,
        "create function public.die() returns trigger language plpgsql as "
        "'begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return null;"
        " end'; create constraint trigger t after delete on schema_migrations_steps "
        "deferrable initially deferred for each row execute function public.die()",
    )
    with pytest.raises(OutcomeUnknown, match=f"recording {SECOND}: the connection was lost around"):
        marked(target, settings, SECOND)
    assert everything(target) == before


def test_a_lock_that_is_not_to_be_had_is_told(target: Target, settings: Settings) -> None:
    half_done(target, settings)
    with session(target) as other:
        other.execute("lock table schema_migrations in share mode")
        with pytest.raises(LockBusy, match="a lock was not to be had"):
            marked(target, settings, SECOND)
    assert recorded(target, settings) == [FIRST]


def test_a_history_that_does_not_keep_the_record_is_refused(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, BUILT)
    folder_with(settings, BOTH)
    query(target, "create rule r as on insert to schema_migrations do instead nothing")
    with pytest.raises(HistoryError, match="is no plain table"):
        marked(target, settings, SECOND)
    query(target, "drop rule r on schema_migrations")
    assert recorded(target, settings) == [FIRST]


def test_two_that_mark_at_once_record_once(target: Target, settings: Settings) -> None:
    migrated(target, settings, BUILT)
    folder_with(settings, BOTH)
    ends = list[str]()

    def marking() -> None:
        try:
            marked(target, settings, SECOND)
            ends.append("done")
        except HistoryError as error:
            ends.append("already" if "applied already" in error.message else error.message)

    threads = [threading.Thread(target=marking) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(ends) == ["already", "already", "done"]
    assert recorded(target, settings) == [FIRST, SECOND]
