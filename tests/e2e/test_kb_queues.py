"""Job queues under two workers: no job taken twice, none lost, and a crashed worker's comes back.

Workers are the application, each over a session of its own, and claim as queues in PostgreSQL do:
the first pending row that nobody else has locked.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.e2e.helpers import Connection, change, count, sessions_in, working_in

JOBS = 24
PAIRS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A table of jobs: what one is called that is worked on, when it is due, and which is first."""

    table: str
    working: str
    attempts: str | None
    order: str
    due: str = "true"

    def __str__(self) -> str:
        return self.table.removeprefix("kb.")

    def claim(self, worker: Connection, *, waiting: bool = False) -> UUID | None:
        """Take the first job that is pending, due and not locked; `waiting` is the mistake."""
        counted = f", {self.attempts} = {self.attempts} + 1" if self.attempts else ""
        query = f"""
            update {self.table} set status = %s, started_at = clock_timestamp(){counted}
            where id = (
                select id from {self.table} where status = 'pending' and {self.due}
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


EMBEDDING = Queue(
    table="kb.graph_embedding_jobs",
    working="processing",
    attempts="attempt_count",
    order="priority desc, scheduled_at, id",
    due="scheduled_at <= now()",
)
QUEUES = (
    EMBEDDING,
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
            if queue is EMBEDDING
            else make.one(queue.table, project=project)
            for _ in range(jobs)
        ]


def test_a_job_that_is_held_is_passed_over_at_once(
    database: Any, connection: Connection, project: Row, queue: Queue
) -> None:
    filled(connection, queue, project, 2)
    with sessions_in(database, project) as (first, second), first.transaction():
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

    with sessions_in(database, project) as pair, ThreadPoolExecutor(2) as pool:
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
    with sessions_in(database, project, 1) as (survivor,):
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
    stale, fresh = filled(connection, queue, project, 2)
    with sessions_in(database, project) as (crashed, survivor):
        assert {queue.claim(crashed), queue.claim(crashed)} == {stale.id, fresh.id}
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
    with sessions_in(database, project) as (first, second), first.transaction():
        assert queue.give_back_stale(first) == {job.id}
        assert queue.give_back_stale(second) == set()


def test_a_worker_takes_no_job_of_another_organization(
    database: Any, connection: Connection, project: Row, queue: Queue
) -> None:
    filled(connection, queue, project, 2)
    stranger = Factories(connection).project()
    with sessions_in(database, stranger, 1) as (worker,):
        assert queue.claim(worker) is None
    with sessions_in(database, project, 1) as (worker,):
        assert queue.claim(worker)


def test_embedding_takes_the_urgent_first_and_nothing_before_its_time(
    database: Any, connection: Connection, project: Row
) -> None:
    make = Factories(connection)
    thing: Callable[[], Row] = lambda: make.graph_object(project=project)  # noqa: E731
    make.embedding_job(object=thing(), scheduled_at="2100-01-01T00:00:00Z", priority=9)
    usual = make.embedding_job(object=thing(), scheduled_at="2020-01-01T00:00:00Z")
    urgent = make.embedding_job(object=thing(), priority=5)
    with sessions_in(database, project, 1) as (worker,):
        assert [EMBEDDING.claim(worker) for _ in range(3)] == [urgent.id, usual.id, None]


def test_two_sessions_that_queue_the_same_object_queue_it_once(
    database: Any, connection: Connection, project: Row
) -> None:
    """The partial unique index decides, however the two meet."""
    make = Factories(connection)
    things = [make.graph_object(project=project).id for _ in range(PAIRS)]
    start = Barrier(2, timeout=30)
    add = "insert into kb.graph_embedding_jobs (object_id) values (%s) on conflict do nothing"

    def queue_all(worker: Connection) -> int:
        made = 0
        for thing in things:
            start.wait()
            made += worker.execute(add, [thing]).rowcount
        return made

    with sessions_in(database, project) as pair, ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(queue_all, pair)) == PAIRS
    assert count(connection, "kb.graph_embedding_jobs") == PAIRS
