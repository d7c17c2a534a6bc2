"""Poolers: session mode is as good as the server; what shares sessions is refused, untouched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from headwater.checks.proof import verify
from headwater.errors import TargetError, Unreachable
from headwater.model import MigrationFolder, State, Target
from headwater.postgres import pooler
from headwater.postgres.connect import connect
from headwater.postgres.databases import scratch_database
from headwater.postgres.lock import migration_lock
from headwater.postgres.pooler import require_own_session
from headwater.postgres.reset import reset
from headwater.postgres.run import migrate, pending, status
from headwater.postgres.trial import trial
from headwater.settings import Settings
from tests.conftest import Pooled
from tests.projects import make_project
from tests.support import folder_with, query, recorded, tables, until, value

FILES = {
    "0001_init.sql": "create schema app; create table app.t (i int);",
    "0002_index.sql": "-- headwater: no-transaction\n"
    "create index concurrently t_i on app.t (i);\nvacuum app.t;",
    "0003_more.sql": "create table app.more ();",
}

# What a session holds that its next user would find: settings, and locks of ours.
LEFT = (
    "select name, setting from pg_settings where source = 'session' "
    "and name not in ('application_name', 'client_encoding') "
    "union all select locktype, objid::text from pg_locks join pg_database d on d.oid = database "
    "where locktype = 'advisory' and d.datname = current_database()"
)


@contextmanager
def busy(through: Target, clients: int) -> Generator[None]:
    """Let an application work through the pooler meanwhile: short statements, without a pause."""
    over = threading.Event()
    begun = threading.Barrier(clients + 1)

    def work() -> None:
        with psycopg.connect(
            through.conninfo, autocommit=True, prepare_threshold=None
        ) as connection:
            connection.execute("select 1")
            begun.wait()
            while not over.is_set():
                connection.execute("select pg_sleep(0.001)")

    with ThreadPoolExecutor(clients) as pool:
        done = [pool.submit(work) for _ in range(clients)]
        begun.wait()
        try:
            yield
        finally:
            over.set()
            for each in done:
                each.result()


def warm(through: Target, clients: int) -> None:
    """Let the pool open this many sessions at once, and be left with them."""
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda _: query(through, "select pg_sleep(0.05)"), range(clients)))


def refused(through: Target) -> bool:
    """Say whether a pooler's sessions are taken for shared."""
    with connect(through, purpose="test") as connection:
        try:
            return not require_own_session(connection, through)
        except TargetError as error:
            return "transaction mode" in error.message


# --- which mode it is -------------------------------------------------------------------------


def test_a_direct_connection_is_asked_one_question(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask = pooler._backend

    def counted(connection: psycopg.Connection[tuple[object, ...]], of: Target) -> int:
        asked.append(ask(connection, of))
        return asked[-1]

    monkeypatch.setattr(pooler, "_backend", counted)
    with connect(target, purpose="test") as connection:
        assert not require_own_session(connection, target)
        assert asked == [connection.info.backend_pid]


POOLS = [(size, turns) for size in (1, 2, 3, 8) for turns in (0, 1)]
TRIES = 5


def test_every_pool_that_shares_its_sessions_is_told(pooled: Pooled) -> None:
    told = 0
    for size, turns in POOLS:
        for clients in (0, size + 1):
            with pooled("transaction", pool_size=size, round_robin=turns) as through:
                warm(through, size)
                if clients:
                    with busy(through, clients):
                        told += sum(refused(through) for _ in range(TRIES))
                else:
                    told += sum(refused(through) for _ in range(TRIES))
    total = len(POOLS) * 2 * TRIES
    print(f"pools in transaction mode that are refused: {told} of {total}")
    assert told == total


def test_no_pool_in_session_mode_is_refused(pooled: Pooled) -> None:
    good = 0
    pools = [(size, turns) for size in (4, 8) for turns in (0, 1)]
    for size, turns in pools:
        with pooled("session", pool_size=size, round_robin=turns) as through:
            warm(through, size)
            good += sum(not refused(through) for _ in range(TRIES))
    print(f"pools in session mode that are used: {good} of {len(pools) * TRIES}")
    assert good == len(pools) * TRIES


# --- session mode -----------------------------------------------------------------------------


def test_everything_works_through_a_pool_in_session_mode(
    target: Target, settings: Settings, pooled: Pooled
) -> None:
    folder = folder_with(settings, FILES)
    with pooled("session") as through:
        migrate(through, folder, settings)
        assert {entry.state for entry in status(through, folder, settings).entries} == {
            State.APPLIED
        }
        assert [line.outcome for line in verify(through, folder, settings).lines] == ["ok"] * 8
        reset(through, folder, settings)
    assert recorded(target, settings) == [name.removesuffix(".sql") for name in FILES]
    assert value(target, "select indisvalid from pg_index where indexrelid = 'app.t_i'::regclass")


def test_several_runners_through_a_pool_in_session_mode_run_every_file_once(
    target: Target, settings: Settings, pooled: Pooled
) -> None:
    folder = folder_with(settings, FILES)
    with pooled("session", pool_size=30) as through, ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: migrate(through, folder, settings), range(4)))
    assert sorted(len(each.results) for each in done) == [0, 0, 0, len(FILES)]
    assert recorded(target, settings) == [name.removesuffix(".sql") for name in FILES]


def test_a_pool_that_does_not_clean_its_sessions_keeps_no_lock_of_ours(
    target: Target, settings: Settings, pooled: Pooled
) -> None:
    hasty = replace(settings, wait_lock_ms=0)
    with pooled("session", more="server_reset_query =") as through:
        with migration_lock(through, settings) as held:
            [(backend,)] = held.execute("select pg_backend_pid()").fetchall()
            assert len(query(target, LEFT)) == 1
        with migration_lock(target, hasty):
            pass
        with psycopg.connect(through.conninfo, autocommit=True) as next_user:
            assert next_user.execute("select pg_backend_pid()").fetchall() == [(backend,)]
            assert next_user.execute(LEFT.encode()).fetchall() == []


def test_a_pool_with_too_few_sessions_is_told_at_once(
    target: Target, settings: Settings, pooled: Pooled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooler, "ANSWER_TIMEOUT_S", 0.3)
    folder = folder_with(settings, FILES)
    for size in (1, 2, 3):
        with (
            pooled("session", pool_size=size) as through,
            pytest.raises(Unreachable, match="no session is to be had") as caught,
        ):
            migrate(through, folder, settings)
        assert caught.value.hint.startswith("give its pool room for 4 sessions more")
    assert tables(target) == []
    monkeypatch.setattr(pooler, "ANSWER_TIMEOUT_S", 10)
    with (
        pooled("session", pool_size=3, more="query_wait_timeout = 1") as through,
        pytest.raises(Unreachable, match="no session is to be had") as caught,
    ):
        migrate(through, folder, settings)
    assert "query_wait_timeout" in caught.value.detail
    with pooled("session", pool_size=4) as through:
        migrate(through, folder, settings)
    assert tables(target) == ["more", "t"]


# --- transaction mode -------------------------------------------------------------------------


def run(through: Target, folder: MigrationFolder, settings: Settings) -> object:
    return migrate(through, folder, settings)


REFUSED: dict[str, Callable[[Target, MigrationFolder, Settings], object]] = {
    "migrate": run,
    "verify": verify,
    "reset": reset,
}


@pytest.mark.parametrize("work", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("size", [1, 4])
def test_transaction_mode_is_refused_and_nothing_is_left_in_its_sessions(
    target: Target,
    settings: Settings,
    pooled: Pooled,
    work: Callable[[Target, MigrationFolder, Settings], object],
    size: int,
) -> None:
    folder = folder_with(settings, FILES)
    with pooled("transaction", pool_size=size) as through:
        warm(through, size)
        with pytest.raises(TargetError, match=r"transaction mode.*nothing was touched") as caught:
            work(through, folder, settings)
        assert "a pool in session mode" in caught.value.hint
        assert caught.value.exit_code == 2
        for _ in range(size):
            assert query(through, LEFT) == []
        with migration_lock(target, replace(settings, wait_lock_ms=0)):
            pass
    assert tables(target) == []
    assert recorded(target, settings) == []


def test_what_only_reads_works_in_transaction_mode(
    target: Target, settings: Settings, pooled: Pooled
) -> None:
    folder = folder_with(settings, FILES)
    migrate(target, folder, settings, to="0002_index")
    with pooled("transaction", pool_size=2, round_robin=1) as through:
        assert pending(through, folder, settings) == ("0003_more",)
        assert [s.version for s in migrate(through, folder, settings, dry_run=True).plan.steps] == [
            "0003_more"
        ]
        migrate(target, folder, settings)
        assert migrate(through, folder, settings).results == ()
        assert query(through, LEFT) == []


def test_a_scratch_database_is_not_made_through_shared_sessions(
    target: Target, settings: Settings, pooled: Pooled
) -> None:
    migrate(target, folder_with(settings, FILES), settings)
    with pooled("transaction") as through:
        with pytest.raises(TargetError, match="transaction mode"):
            scratch_database(through).__enter__()
        assert query(through, LEFT) == []


# --- statement mode ---------------------------------------------------------------------------


@pytest.mark.parametrize("work", (REFUSED | {"status": status}).values(), ids=[*REFUSED, "status"])
def test_statement_mode_is_told_by_its_name(
    target: Target,
    settings: Settings,
    pooled: Pooled,
    work: Callable[[Target, MigrationFolder, Settings], object],
) -> None:
    with (
        pooled("statement") as through,
        pytest.raises(TargetError, match=r"(statement|transaction) mode") as caught,
    ):
        work(through, folder_with(settings, FILES), settings)
    assert "a pool in session mode" in caught.value.hint
    assert caught.value.exit_code == 2
    assert tables(target) == []
    with migration_lock(target, replace(settings, wait_lock_ms=0)):
        pass


# --- as a task --------------------------------------------------------------------------------


def test_the_task_ends_with_2_and_says_what_to_name(
    target: Target, pooled: Pooled, tmp_path: Path
) -> None:
    with pooled("transaction") as through:
        project = make_project(tmp_path / "project", FILES, through)
        project.invoke("migrate", code=2).said("transaction mode", "name the server itself")
        ended = project.invoke("status --json")
        assert [row["state"] for row in ended.json["migrations"]] == ["pending"] * 3
    assert tables(target) == []


TASKS = {
    "status": 0,
    "migrate --dry-run": 0,
    "wait": 0,
    "migrate": 2,
    "migrate --trial": 2,
    "reset": 2,
    "verify": 2,
    "history.mark 0002_index": 2,
    "history.repair 0001_init": 2,
    "history.baseline 0001_init": 2,
}


def test_no_task_leaves_anything_in_sessions_that_others_share(
    target: Target, settings: Settings, pooled: Pooled, tmp_path: Path
) -> None:
    """`history.baseline` on a database that has a history is refused before it comes to that."""
    migrate(target, folder_with(settings, FILES), settings, to="0001_init")
    clean = 0
    with pooled("transaction", pool_size=1) as through:
        project = make_project(tmp_path / "project", FILES, through)
        for task, code in TASKS.items():
            project.invoke(task, code=code)
            clean += query(through, LEFT) == []
    print(f"tasks that leave nothing in a shared session: {clean} of {len(TASKS)}")
    assert clean == len(TASKS)
    assert recorded(target, settings) == ["0001_init"]
    assert tables(target) == ["t"]


def test_a_trial_through_a_pool_in_session_mode_sees_its_own_locks(
    target: Target, settings: Settings, pooled: Pooled
) -> None:
    files = FILES | {"0004_column.sql": "alter table app.t add column b int;"}
    migrate(target, folder_with(settings, FILES), settings)
    with pooled("session") as through:
        tried = trial(through, folder_with(settings, files), settings)
    assert [lock.relation for lock in tried.locks] == ["app.t"]


def test_a_runner_that_is_killed_behind_a_pool_leaves_the_lock_free(
    target: Target, settings: Settings, pooled: Pooled, tmp_path: Path
) -> None:
    sleeps = FILES | {"0004_sleeps.sql": "select pg_sleep(60);"}
    with pooled("session") as through:
        project = make_project(tmp_path / "project", sleeps, through)
        process = project.begin("migrate")
        until(lambda: recorded(target, settings) == ["0001_init", "0002_index", "0003_more"])
        process.kill()
        process.communicate()
        with migration_lock(target, replace(settings, wait_lock_ms=20_000)):
            assert tables(target) == ["more", "t"]
