"""A transaction for a test: undone, and proved to be undone."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

import psycopg
import pytest

from headwater.model import Target
from headwater.postgres.connect import Connection
from headwater.testing.rollback import TransactionEnded, undone
from tests.support import query, value

Rows = list[tuple[int]]


@pytest.fixture
def connection(target: Target) -> Generator[Connection]:
    with psycopg.connect(target.conninfo, autocommit=True) as opened:
        opened.execute("create table t (id int primary key)")
        yield opened


def insert(connection: Connection, number: int) -> None:
    connection.execute("insert into t values (%s)", (number,))


def insert_and_fail(connection: Connection) -> None:
    insert(connection, 1)
    raise ZeroDivisionError


def rows(target: Target) -> list[int]:
    """Give what another session sees."""
    return [number for (number,) in query(target, "select id from t order by 1")]


def is_idle(connection: Connection) -> bool:
    return connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_what_is_written_is_undone(connection: Connection, target: Target) -> None:
    with undone(connection):
        insert(connection, 1)
        assert rows(target) == []
    assert rows(target) == []
    assert is_idle(connection)
    insert(connection, 1)  # in autocommit again
    assert rows(target) == [1]


def test_an_error_of_the_body_is_the_one_that_is_raised(
    connection: Connection, target: Target
) -> None:
    with pytest.raises(ZeroDivisionError), undone(connection):
        insert_and_fail(connection)
    assert rows(target) == []
    assert is_idle(connection)


def test_after_a_statement_that_failed_all_is_undone(
    connection: Connection, target: Target
) -> None:
    with undone(connection) as outcome:
        insert(connection, 1)
        with suppress(psycopg.Error):
            connection.execute("select 1/0")
        outcome.keep = True  # there is nothing left of it
    assert rows(target) == []
    assert is_idle(connection)


def test_a_transaction_inside_is_one_of_its_own(connection: Connection, target: Target) -> None:
    with undone(connection):
        insert(connection, 1)
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            insert(connection, 1)
        with connection.transaction():
            insert(connection, 2)
        assert connection.execute("select count(*) from t").fetchone() == (2,)
    assert rows(target) == []


def test_what_is_to_be_kept_is_committed(connection: Connection, target: Target) -> None:
    with undone(connection) as outcome:
        insert(connection, 1)
        outcome.keep = True
    assert rows(target) == [1]
    assert is_idle(connection)


@pytest.mark.parametrize("method", ["commit", "rollback"])
def test_the_driver_refuses_to_end_it(connection: Connection, target: Target, method: str) -> None:
    with undone(connection):
        insert(connection, 1)
        with pytest.raises(psycopg.ProgrammingError):
            getattr(connection, method)()
    assert rows(target) == []


def end_it(connection: Connection, statement: str, *, keep: bool) -> None:
    with undone(connection) as outcome:
        insert(connection, 1)
        connection.execute(statement.encode())
        outcome.keep = keep


@pytest.mark.parametrize(
    "statement",
    [
        "commit",
        "commit and chain",
        "rollback",
        "rollback and chain",
        "end; begin; savepoint mine",
        # The name of the driver's own savepoint is no secret.
        'commit; begin; savepoint "_pg3_1"',
    ],
)
@pytest.mark.parametrize("keep", [False, True])
def test_who_ends_it_by_a_statement_is_told(
    connection: Connection, statement: str, keep: bool
) -> None:
    with pytest.raises(TransactionEnded, match="A test that commits takes `connection`"):
        end_it(connection, statement, keep=keep)
    assert is_idle(connection)


def test_a_connection_that_is_closed_or_lost_has_undone_it(
    connection: Connection, target: Target
) -> None:
    with psycopg.connect(target.conninfo, autocommit=True) as another, undone(another):
        insert(another, 1)
        another.close()
    with psycopg.connect(target.conninfo, autocommit=True) as another, undone(another):
        insert(another, 1)
        query(target, f"select pg_terminate_backend({another.info.backend_pid}, 5000)")
        with pytest.raises(psycopg.OperationalError):
            another.execute("select 1")
    assert rows(target) == []
    assert value(target, "select count(*) from pg_locks where relation = 't'::regclass") == 0


def test_evidence_that_breaks_a_deferred_constraint_is_let_go_without_a_second_error(
    connection: Connection, target: Target
) -> None:
    connection.execute("alter table t add other int references t deferrable initially deferred")
    with undone(connection) as outcome:
        connection.execute("insert into t values (1, 2)")
        outcome.keep = True
    assert rows(target) == []
    assert is_idle(connection)
