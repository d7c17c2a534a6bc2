"""Job queues under two workers: no job taken twice, none lost, and a crashed worker's comes back.

Workers are the application, each over a session of its own, and claim as queues in PostgreSQL do:
the first pending row that nobody else has locked.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Barrier
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import LockNotAvailable

from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.e2e.helpers import Connection, change, count, working_in

JOBS = 24
# No worker waits for longer than that: with a lock it would be until the other one is done.
PATIENCE = "5s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A table of jobs: what a job is called while it waits, and while it is worked on."""

    table: str
    working: str
    attempts: str | None
    order: str

    def __str__(self) -> str:
        return self.table.removeprefix("kb.")

    def claim(self, worker: Connection, *, waiting: bool = False) -> UUID | None:
        """Take the first job that is pending and not locked; to be `waiting` is the mistake."""
        counted = f", {self.attempts} = {self.attempts} + 1" if self.attempts else ""
        query = f"""
            update {self.table} set status = %s, started_at = clock_timestamp(){counted}
            where id = (
                select id from {self.table} where status = 'pending'
                order by {self.order} limit 1 for update {"" if waiting else "skip locked"}
            )
            returning id
        """
        found = worker.execute(query.encode(), [self.working]).fetchone()
        return found[0] if found else None

    def give_back_stale(self, worker: Connection) -> set[UUID]:
        """Bring back what has been worked on for longer than anybody works."""
        query = f"""
            update {self.table} set status = 'pending', started_at = null
            where id in (
                select id from {self.table}
                where status = %s and started_at < now() - interval '10 min' for update skip locked
            )
            returning id
        """
        return {job for (job,) in worker.execute(query.encode(), [self.working])}


QUEUES = (
    Queue(
        table="kb.graph_embedding_jobs",
        working="processing",
        attempts="attempt_count",
        order="priority desc, scheduled_at, id",
    ),
    Queue(
        table="kb.object_extraction_jobs", working="running", attempts=None, order="created_at, id"
    ),
    Queue(
        table="kb.discovery_jobs",
        working="analyzing_documents",
        attempts="retry_count",
        order="created_at, id",
    ),
)


@pytest.fixture(params=QUEUES, ids=str)
def queue(request: pytest.FixtureRequest) -> Queue:
    found: Queue = request.param
    return found


@pytest.fixture
def project(connection: Connection) -> Row:
    return Factories(connection).project()


def filled(connection: Connection, queue: Queue, project: Row, jobs: int = JOBS) -> list[Row]:
    make = Factories(connection)
    with connection.transaction():
        return [
            make.embedding_job(object=make.graph_object(project=project))
            if queue.table == "kb.graph_embedding_jobs"
            else make.one(queue.table, project=project)
            for _ in range(jobs)
        ]


@contextmanager
def workers(database: Any, project: Row, number: int = 2) -> Any:
    """Open sessions that are the application."""
    with ExitStack() as opened:
        found = []
        for _ in range(number):
            worker = opened.enter_context(database.connect())
            worker.execute(sql.SQL("set lock_timeout = {}").format(PATIENCE))
            found.append(opened.enter_context(working_in(worker, project)))
        yield found


def test_a_job_that_is_held_is_passed_over_at_once(
    database: Any, connection: Connection, project: Row, queue: Queue
) -> None:
    filled(connection, queue, project, 2)
    with workers(database, project) as (first, second), first.transaction():
        held = queue.claim(first)
        second.execute("set lock_timeout = '50ms'")
        with pytest.raises(LockNotAvailable):
            queue.claim(second, waiting=True)  # the lock is real
        other = queue.claim(second)
        assert None not in {held, other}
        assert held != other
        assert queue.claim(second) is None, "the held one is not to be had"
    assert count(connection, queue.table, status=queue.working) == 2


def test_two_workers_at_once_take_each_job_once(
    database: Any, connection: Connection, project: Row, queue: Queue
) -> None:
    jobs = {job.id for job in filled(connection, queue, project)}
    both_hold_one = Barrier(2, timeout=30)

    def drain(worker: Connection) -> list[UUID]:
        with worker.transaction():
            taken = [queue.claim(worker)]
            both_hold_one.wait()  # neither has committed yet
        while (job := queue.claim(worker)) is not None:
            taken.append(job)
        return [job for job in taken if job]

    with workers(database, project) as pair, ThreadPoolExecutor(2) as pool:
        first, second = pool.map(drain, pair)
    assert len(first) + len(second) == len(jobs)
    assert {*first, *second} == jobs
    assert first
    assert second
    assert count(connection, queue.table, status="pending") == 0
    if queue.attempts:
        assert count(connection, queue.table, **{queue.attempts: 1}) == len(jobs)


def test_the_job_of_a_worker_that_crashed_in_its_transaction_comes_back(
    database: Any, connection: Connection, project: Row, queue: Queue
) -> None:
    [job] = filled(connection, queue, project, 1)
    with workers(database, project, 1) as (survivor,):
        crashed = database.connect()
        with (  # noqa: PT012
            pytest.raises(psycopg.OperationalError),
            working_in(crashed, project),
        ):
            crashed.execute("begin")
            assert queue.claim(crashed) == job.id
            assert queue.claim(survivor) is None
            killed = "select pg_terminate_backend(%s, 5000)"
            assert connection.execute(killed, [crashed.info.backend_pid]).fetchone() == (True,)
            crashed.execute("commit")
        crashed.close()
        assert queue.claim(survivor) == job.id


def test_the_job_of_a_worker_that_crashed_later_comes_back_when_it_is_stale(
    database: Any, connection: Connection, project: Row, queue: Queue
) -> None:
    """It had committed its claim: the row alone says so, and only time tells that it is dead."""
    stale, _fresh = filled(connection, queue, project, 2)
    with workers(database, project) as (crashed, survivor):
        assert {queue.claim(crashed), queue.claim(crashed)} == {stale.id, _fresh.id}
        crashed.close()
        past = {"created_at": "2020-02-02T00:00:00Z", "started_at": "2020-02-02T00:00:01Z"}
        change(connection, stale, **past)
        assert queue.give_back_stale(survivor) == {stale.id}
        assert queue.claim(survivor) == stale.id
        assert queue.claim(survivor) is None


def test_two_workers_give_a_stale_job_back_once(
    database: Any, connection: Connection, project: Row, queue: Queue
) -> None:
    [job] = filled(connection, queue, project, 1)
    past = {"created_at": "2020-02-02T00:00:00Z", "started_at": "2020-02-02T00:00:01Z"}
    change(connection, job, status=queue.working, **past)
    with workers(database, project) as (first, second), first.transaction():
        assert queue.give_back_stale(first) == {job.id}
        assert queue.give_back_stale(second) == set()


def test_a_worker_takes_no_job_of_another_organization(
    database: Any, connection: Connection, project: Row, queue: Queue
) -> None:
    filled(connection, queue, project, 2)
    stranger = Factories(connection).project()
    with workers(database, stranger, 1) as (worker,):
        assert queue.claim(worker) is None
    with workers(database, project, 1) as (worker,):
        assert queue.claim(worker)


def test_embedding_takes_the_urgent_first_and_nothing_before_its_time(
    database: Any, connection: Connection, project: Row
) -> None:
    make = Factories(connection)
    thing: Callable[[], Row] = lambda: make.graph_object(project=project)  # noqa: E731
    later = make.embedding_job(object=thing(), scheduled_at="2100-01-01T00:00:00Z", priority=9)
    usual = make.embedding_job(object=thing(), scheduled_at="2020-01-01T00:00:00Z")
    urgent = make.embedding_job(object=thing(), priority=5)
    due = (
        "select id from kb.graph_embedding_jobs where status = 'pending' and scheduled_at <= now() "
        "order by priority desc, scheduled_at for update skip locked"
    )
    with workers(database, project, 1) as (worker,):
        found = [job for (job,) in worker.execute(due)]
    assert found == [urgent.id, usual.id]
    assert later.id not in found


@pytest.mark.parametrize("pairs", [10])
def test_two_sessions_that_queue_the_same_object_queue_it_once(
    database: Any, connection: Connection, project: Row, pairs: int
) -> None:
    """The partial unique index decides, however the two meet."""
    make = Factories(connection)
    things = [make.graph_object(project=project).id for _ in range(pairs)]
    start = Barrier(2, timeout=30)
    add = "insert into kb.graph_embedding_jobs (object_id) values (%s) on conflict do nothing"

    def queue_all(worker: Connection) -> int:
        made = 0
        for thing in things:
            start.wait()
            made += worker.execute(add, [thing]).rowcount
        return made

    with workers(database, project) as pair, ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(queue_all, pair)) == pairs
    assert count(connection, "kb.graph_embedding_jobs") == pairs
