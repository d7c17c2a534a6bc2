"""The lock: one runner at a time in one database, free again when its holder is gone."""

from __future__ import annotations

import os
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from headwater.errors import HalfDone, LockBusy
from headwater.model import Event, Said, Target
from headwater.postgres.job import sessions
from headwater.postgres.lock import migration_lock
from headwater.postgres.run import migrate
from headwater.settings import Settings
from tests.conftest import FreshDatabase
from tests.support import folder_with, query, recorded, tables, until, value

KEYS = [4815162342, 1, 0, -1, 2**32, 2**31, -(2**31) - 5, 2**63 - 1, -(2**63)]


@pytest.fixture
def hasty(settings: Settings) -> Settings:
    return replace(settings, wait_lock_ms=100)


def test_a_second_runner_gives_up_and_names_the_holder(target: Target, hasty: Settings) -> None:
    with migration_lock(target, hasty) as held:
        pid = held.info.backend_pid
        with pytest.raises(LockBusy) as caught:
            migration_lock(target, hasty).__enter__()
    assert caught.value.exit_code == 5
    assert caught.value.message == f"another runner works on {target}"
    assert f"process {pid} (headwater lock as {target.user} from " in caught.value.detail
    assert ", since 20" in caught.value.detail
    assert "HEADWATER_WAIT_LOCK" in caught.value.hint


def test_a_migrate_that_cannot_have_the_lock_does_nothing(target: Target, hasty: Settings) -> None:
    folder = folder_with(hasty, {"0001_init.sql": "create schema app; create table app.t ();"})
    with migration_lock(target, hasty), pytest.raises(LockBusy):
        migrate(target, folder, hasty)
    assert tables(target) == []
    assert recorded(target, hasty) == []
    migrate(target, folder, hasty)
    assert recorded(target, hasty) == ["0001_init"]


def test_a_second_runner_waits_for_the_first_and_says_so_once(
    target: Target, settings: Settings
) -> None:
    said: list[Event] = []
    with ThreadPoolExecutor(1) as pool:
        with migration_lock(target, settings) as held:
            pid = held.info.backend_pid
            second = pool.submit(hold_and_release, target, settings, said)
            until(lambda: said)
            time.sleep(0.3)
            assert not second.done()
        assert second.result(timeout=10)
    [event] = said
    assert isinstance(event, Said)
    assert event.message.startswith(f"waiting for process {pid} (headwater lock as ")


def hold_and_release(target: Target, settings: Settings, said: list[Event]) -> bool:
    with migration_lock(target, settings, said.append) as held:
        return not held.closed


def test_it_waits_no_longer_than_it_may(target: Target, settings: Settings) -> None:
    with migration_lock(target, settings):
        begun = time.monotonic()
        with pytest.raises(LockBusy):
            migration_lock(target, replace(settings, wait_lock_ms=300)).__enter__()
        assert 0.3 <= time.monotonic() - begun < 5


def test_the_lock_is_free_when_its_holder_is_done(target: Target, hasty: Settings) -> None:
    for _ in range(3):
        with migration_lock(target, hasty):
            pass


def test_the_lock_is_free_when_its_holder_raises(target: Target, hasty: Settings) -> None:
    with pytest.raises(ZeroDivisionError), migration_lock(target, hasty):
        1 / 0  # noqa: B018
    with migration_lock(target, hasty):
        pass


def test_the_lock_is_free_when_its_holder_dies(target: Target, settings: Settings) -> None:
    with migration_lock(target, settings) as held:
        query(target, f"select pg_terminate_backend({held.info.backend_pid})")
        with migration_lock(target, settings):
            pass


def test_the_waiting_runner_is_in_no_transaction(target: Target, settings: Settings) -> None:
    """A runner that waited inside a statement would deadlock with every CONCURRENTLY."""
    said: list[Event] = []
    with ThreadPoolExecutor(1) as pool, migration_lock(target, settings):
        pool.submit(hold_and_release, target, settings, said)
        until(lambda: said)
        # (It polls: at most moments it waits for the client.)
        states = (
            "select distinct state, backend_xmin::text, wait_event_type from pg_stat_activity "
            "where application_name = 'headwater lock' and datname = current_database()"
        )
        until(lambda: query(target, states) == [("idle", None, "Client")], "the rest of both")


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_found_in_the_list_of_locks(target: Target, hasty: Settings, key: int) -> None:
    with_key = replace(hasty, lock_key=key, wait_lock_ms=1)
    with migration_lock(target, with_key) as held:
        pid = held.info.backend_pid
        assert value(target, f"select not pg_try_advisory_lock('{key}'::bigint)")
        with pytest.raises(LockBusy) as caught:
            migration_lock(target, with_key).__enter__()
    assert f"process {pid} (" in caught.value.detail


def test_a_lock_of_two_small_keys_is_another_lock(target: Target, hasty: Settings) -> None:
    with psycopg.connect(target.conninfo, autocommit=True) as other:
        other.execute("select pg_advisory_lock(1, 2)")
        key = (1 << 32) + 2
        with migration_lock(target, replace(hasty, lock_key=key)) as held:
            pid = held.info.backend_pid
            with pytest.raises(LockBusy) as caught:
                migration_lock(target, replace(hasty, lock_key=key)).__enter__()
    assert f"process {pid} (" in caught.value.detail


def test_locks_that_share_half_of_the_key_are_other_locks(target: Target, hasty: Settings) -> None:
    ours = replace(hasty, lock_key=(100 << 32) + 2)
    with psycopg.connect(target.conninfo, autocommit=True) as other:
        for n in range(1, 200):
            if n != 100:
                other.execute(f"select pg_advisory_lock({(n << 32) + 2})".encode())
                other.execute(f"select pg_advisory_lock({(100 << 32) + 2 + n})".encode())
        with migration_lock(target, ours) as held:
            pid = held.info.backend_pid
            with pytest.raises(LockBusy) as caught:
                migration_lock(target, ours).__enter__()
    assert f"process {pid} (" in caught.value.detail


def test_runners_with_other_keys_do_not_wait(target: Target, hasty: Settings) -> None:
    with migration_lock(target, hasty), migration_lock(target, replace(hasty, lock_key=7)):
        pass


def test_two_databases_do_not_disturb_each_other(
    target: Target, hasty: Settings, fresh_database: FreshDatabase
) -> None:
    with fresh_database() as url:
        another = replace(target, conninfo=url)
        with migration_lock(target, hasty), migration_lock(another, hasty):
            pass


def test_a_holder_in_another_database_is_not_named(
    target: Target, hasty: Settings, fresh_database: FreshDatabase
) -> None:
    with fresh_database() as url, migration_lock(replace(target, conninfo=url), hasty) as other:
        stranger = other.info.backend_pid
        with migration_lock(target, hasty), pytest.raises(LockBusy) as caught:
            migration_lock(target, hasty).__enter__()
    assert f"process {stranger} " not in caught.value.detail


def test_the_timeouts_of_the_database_do_not_end_the_lock(
    target: Target, settings: Settings
) -> None:
    query(target, f"alter database {target.database} set idle_session_timeout = '500ms'")
    with migration_lock(target, settings) as held:
        time.sleep(1)
        assert held.execute("select 1").fetchone() == (1,)


def test_many_runners_hold_it_one_after_the_other(target: Target, settings: Settings) -> None:
    inside: list[int] = []
    most: list[int] = []
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait()
        with migration_lock(target, settings):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert most == [1] * 6


TERMINATE = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = "


def test_a_run_whose_lock_is_lost_stops_before_its_next_file(
    target: Target, settings: Settings
) -> None:
    mine = f"{TERMINATE}'headwater lock' and datname = current_database();"
    folder = folder_with(settings, {"0001_a.sql": mine, "0002_b.sql": "create schema app;"})
    with pytest.raises(LockBusy, match="the lock was lost while it ran") as caught:
        migrate(target, folder, settings)
    assert caught.value.detail == "the file was rolled back"
    assert recorded(target, settings) == []


def test_a_lock_that_is_lost_between_two_files_is_seen(target: Target, settings: Settings) -> None:
    with migration_lock(target, settings) as held, sessions(target, held) as session:
        assert session.lock_is_held()
        query(target, f"select pg_terminate_backend({held.info.backend_pid}, 5000)")
        until(lambda: not session.lock_is_held(), "the loss")


def test_a_lock_is_held_by_a_process_with_a_thousand_open_files(
    target: Target, settings: Settings
) -> None:
    """Its connection has a number that select() of the system does not take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < 2_048:
        pytest.skip("the system lets nobody open so many files")
    with ExitStack() as files:
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (2_048, hard))
        for _ in range(1_024):
            files.enter_context(Path(os.devnull).open("rb"))
        with migration_lock(target, settings) as held, sessions(target, held) as session:
            assert held.fileno() >= 1_024
            assert session.lock_is_held()


@pytest.mark.parametrize(
    ("gone", "words"),
    [("lock", "the lock was lost"), ("journal", "looking at what the statement will change")],
)
def test_a_stepwise_file_that_loses_a_connection_says_how_far_it_came(
    target: Target, settings: Settings, gone: str, words: str
) -> None:
    mine = f"{TERMINATE}'headwater {gone}' and datname = current_database();"
    # Only what runs in no transaction is written by the journal's own connection.
    text = (
        f"-- headwater: no-transaction\ncreate schema app; create table app.t (i int); {mine} "
        "create index concurrently t_i on app.t (i);"
    )
    with pytest.raises(HalfDone, match=words) as caught:
        migrate(target, folder_with(settings, {"0001_a.sql": text}), settings)
    assert "statements done: at least" in caught.value.detail
    assert recorded(target, settings) == []
