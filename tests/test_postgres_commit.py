"""COMMIT: done, not done, or told to be unknown. (Lost answers: test_postgres_run.py.)"""

from __future__ import annotations

from collections.abc import Generator

import psycopg
import pytest

from headwater.model import Event, Said, Target
from headwater.postgres.commit import NotCommitted, Pending, commit
from headwater.postgres.connect import Connection, connect
from headwater.postgres.wire import send
from tests.support import query, value


@pytest.fixture
def ours(target: Target) -> Generator[Connection]:
    """A session for one transaction."""
    with connect(target, purpose="test") as connection:
        yield connection


def begun(target: Target, ours: Connection, text: str, said: list[Event]) -> Pending:
    """Begin a transaction, and give what is to be known of it."""
    query(target, "create table t (i int unique deferrable initially deferred)")
    reply = send(ours, f"BEGIN; {text}; SELECT pg_current_xact_id()".encode())
    number = reply.row(-1)[0] if reply.error is None else "0"
    return Pending(
        what="0001_a.sql",
        transaction=int(number or 0),
        target=target,
        is_there=lambda another: another.execute("select from public.t").rowcount > 0,
        notify=said.append,
    )


def test_what_is_committed_is_there(target: Target, ours: Connection) -> None:
    said: list[Event] = []
    commit(ours, begun(target, ours, "insert into t values (1)", said))
    assert value(target, "select count(*) from t") == 1
    assert said == []


def test_a_commit_that_is_answered_by_rollback_is_no_commit(
    target: Target, ours: Connection
) -> None:
    pending = begun(target, ours, "insert into t values (1); select 1 / 0", [])
    with pytest.raises(psycopg.errors.InFailedSqlTransaction, match="answered by ROLLBACK"):
        commit(ours, pending)
    assert value(target, "select count(*) from t") == 0


def test_a_commit_that_is_refused_raises_the_servers_error(
    target: Target, ours: Connection
) -> None:
    pending = begun(target, ours, "insert into t values (1), (1)", [])
    with pytest.raises(psycopg.errors.UniqueViolation):
        commit(ours, pending)
    assert value(target, "select count(*) from t") == 0


def test_a_session_that_ended_before_is_asked_about_and_was_rolled_back(
    target: Target, ours: Connection
) -> None:
    said: list[Event] = []
    pending = begun(target, ours, "insert into t values (1)", said)
    query(target, f"select pg_terminate_backend({ours.info.backend_pid}, 5000)")
    with pytest.raises(NotCommitted) as caught:
        commit(ours, pending)
    assert isinstance(caught.value.error, psycopg.OperationalError)
    assert said == [Said(message="0001_a.sql: the connection was lost; asking the server")]
    assert value(target, "select count(*) from t") == 0
