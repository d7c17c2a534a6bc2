"""Looking after a statement: a lost answer is noticed, and who stands in the way is named."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from headwater.model import Target
from headwater.postgres import watching
from headwater.postgres.connect import connect
from headwater.postgres.watching import Look, Watcher
from tests.support import query, running_sessions, session, until


def test_an_answer_that_was_lost_is_noticed(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_SILENT_S", 0.2)
    with connect(target, purpose="test") as idle:
        idle.execute("select 1")
        time.sleep(0.3)
        with (
            Watcher(target=target, pid=idle.info.backend_pid, lock=None) as watcher,
            pytest.raises(psycopg.OperationalError, match="the answer was lost"),
        ):
            watcher.tick(1.0)


def test_an_answer_that_has_just_come_is_waited_for(target: Target) -> None:
    with (
        connect(target, purpose="test") as idle,
        Watcher(target=target, pid=idle.info.backend_pid, lock=None) as watcher,
    ):
        idle.execute("select 1")
        watcher.tick(1.0)


def test_a_backend_that_is_gone_is_noticed_at_the_third_look(target: Target) -> None:
    with connect(target, purpose="test") as ended:
        pid = ended.info.backend_pid
    until(lambda: not query(target, f"select from pg_stat_activity where pid = {pid}"))
    with Watcher(target=target, pid=pid, lock=None) as watcher:
        watcher.tick(1.0)
        watcher.tick(10.0)
        with pytest.raises(psycopg.OperationalError, match="its process on the server is gone"):
            watcher.tick(20.0)


def test_it_looks_now_and_then_and_not_at_every_tick(target: Target) -> None:
    looks: list[tuple[Look, float]] = []
    with (
        connect(target, purpose="test") as idle,
        Watcher(
            target=target,
            pid=idle.info.backend_pid,
            lock=None,
            seen=lambda look, passed_s: looks.append((look, passed_s)),
            pause_s=1.0,
        ) as watcher,
    ):
        idle.execute("select 1")
        for tenth in range(40):
            watcher.tick(tenth / 10)
    # At 0.2, 0.4, 0.8 s: the pauses double up to a second.
    assert 4 <= len(looks) <= 7
    assert sum(passed for _, passed in looks) > 2.5


def test_who_stands_in_the_way_is_named_and_the_statement_can_be_cancelled(target: Target) -> None:
    query(target, "create table t ()")
    with session(target) as other, connect(target, purpose="test") as ours:
        other.execute("lock table t")
        holder = other.info.backend_pid
        errors: list[psycopg.Error] = []

        def wait() -> None:
            try:
                ours.execute("select * from t")
            except psycopg.Error as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: running_sessions(target, "select * from t"))
        with Watcher(target=target, pid=ours.info.backend_pid, lock=None) as watcher:

            def sees_a_blocker() -> bool:
                watcher.tick(time.monotonic())
                return bool(watcher.blockers)

            until(sees_a_blocker, "a blocker")
            [blocker] = watcher.blockers
            watcher.cancel()
            thread.join(10)
    assert blocker.startswith(f"process {holder} (somebody else as ")
    assert "lock table t" in blocker
    [error] = errors
    assert isinstance(error, psycopg.errors.QueryCanceled)


def test_without_the_connection_of_the_lock_it_opens_its_own(target: Target) -> None:
    seen: list[Look] = []
    with connect(target, purpose="lock") as lock, connect(target, purpose="test") as idle:
        idle.execute("select 1")
        query(target, f"select pg_terminate_backend({lock.info.backend_pid}, 5000)")
        with Watcher(
            target=target,
            pid=idle.info.backend_pid,
            lock=lock,
            seen=lambda look, _: seen.append(look),
        ) as watcher:
            watcher.tick(1.0)
            assert seen == []
            watcher.tick(10.0)
    assert len(seen) == 1
