"""A connection that is lent: its transaction is not the borrower's to end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress

import psycopg
import pytest
from psycopg.rows import dict_row

from headwater.model import Target
from headwater.postgres.connect import Connection, connect
from headwater.postgres.lent_connection import (
    LentConnection,
    NotYours,
    lent,
    no_commit,
    was_refused,
)
from tests.support import query, value

NAME = b"headwater_0123"


@pytest.fixture
def connection(target: Target) -> Generator[Connection]:
    """A connection in a transaction that has written a row."""
    query(target, "create table t (i int)")
    with connect(target, purpose="test") as connection:
        connection.execute("begin")
        connection.execute("insert into t values (1)")
        yield connection


def leave(borrowed: LentConnection) -> None:
    with borrowed:
        pass


@pytest.mark.parametrize(
    "end", [LentConnection.commit, LentConnection.rollback, LentConnection.close, leave]
)
def test_what_would_end_the_transaction_is_refused(
    connection: Connection, end: Callable[[LentConnection], None]
) -> None:
    with lent(connection) as borrowed, pytest.raises(NotYours):
        end(borrowed)
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def test_an_error_in_a_with_block_is_the_one_that_is_told(connection: Connection) -> None:
    with lent(connection) as borrowed, pytest.raises(KeyError), borrowed:
        raise KeyError
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def test_a_part_may_fail_in_a_transaction_inside(connection: Connection, target: Target) -> None:
    with lent(connection) as borrowed:
        with suppress(psycopg.errors.DivisionByZero), borrowed.transaction():
            borrowed.execute("insert into t values (2)")
            borrowed.execute("select 1 / 0")
        borrowed.execute("insert into t values (3)")
    connection.execute("commit")
    assert query(target, "select i from t order by 1") == [(1,), (3,)]


def test_what_is_set_on_it_goes_with_it(connection: Connection) -> None:
    heard = list[str]()
    connection.add_notice_handler(lambda diagnostic: heard.append(str(diagnostic.message_primary)))
    with lent(connection) as borrowed:
        borrowed.row_factory = dict_row  # type: ignore[assignment]
        assert str(borrowed.execute("select 1 as one").fetchone()) == "{'one': 1}"
    assert connection.execute("select 1").fetchone() == (1,)
    connection.execute("do $$ begin raise notice 'heard'; end $$")
    assert heard == ["heard"]


# --- COMMIT as a statement --------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["commit", "end", "prepare transaction 'a'", "commit; begin"])
def test_the_server_refuses_to_commit(
    connection: Connection, target: Target, statement: str
) -> None:
    connection.execute(no_commit(NAME))
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    assert was_refused(caught.value, NAME)
    connection.execute("rollback")
    assert value(target, "select count(*) from t") == 0


def test_every_version_refuses_to_commit(versioned: Target) -> None:
    with connect(versioned, purpose="test") as connection:
        connection.execute("begin; create table t (i int)")
        connection.execute(no_commit(NAME))
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("commit")
        assert was_refused(caught.value, NAME)
    assert value(versioned, "select to_regclass('t') is null")


def test_deferred_constraints_do_not_ask_for_it(connection: Connection) -> None:
    connection.execute(no_commit(NAME))
    connection.execute("set constraints all immediate")


def test_it_is_taken_away_with_what_is_temporary(connection: Connection, target: Target) -> None:
    connection.execute(no_commit(NAME))
    connection.execute("discard temp")
    connection.execute("commit")
    assert value(target, "select count(*) from t") == 1
