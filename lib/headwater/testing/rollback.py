"""A transaction for a test, which is undone afterwards, and is proved to be: for speed."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from headwater.postgres.connect import Connection


class TransactionEnded(Exception):
    """A test ended the transaction that it was given: what it wrote may have stayed."""


@dataclass(slots=True)
class Undone:
    """The transaction of a test; with `keep` what it wrote is committed, as evidence."""

    keep: bool = False


@contextmanager
def undone(connection: Connection) -> Generator[Undone]:
    """Run the body in a transaction, and roll that back, whether or not the body raises.

    A savepoint of a random name shows that it is the same transaction in the end. Raises
    TransactionEnded when the body has ended it (by an SQL COMMIT, say); `connection.commit()` is
    refused by the driver on the spot. After a statement that failed there is nothing to keep.
    """
    mark = sql.Identifier(f"headwater {secrets.token_hex(8)}")
    connection.execute("BEGIN")
    connection.execute(sql.SQL("SAVEPOINT {}").format(mark))
    outcome = Undone()
    try:
        # Inside it the driver refuses to commit.
        with connection.transaction(force_rollback=True) as inner:
            try:
                yield outcome
            finally:
                close_when_busy(connection)  # to roll back would wait for ever
            inner.force_rollback = not outcome.keep or _is_aborted(connection)
    finally:
        if not connection.closed:
            _end(connection, mark, keep=outcome.keep)


# Another thread may be in the middle of a short query.
_PATIENCE_S = 1.0


def _is_busy(connection: Connection) -> bool:
    """Say whether a connection is not free to do anything: a stream, COPY or notifies goes on."""
    if connection.closed:
        return False
    if not connection.lock.acquire(timeout=_PATIENCE_S):
        return True
    connection.lock.release()
    return connection.info.transaction_status is psycopg.pq.TransactionStatus.ACTIVE


def close_when_busy(connection: Connection) -> bool:
    """Close a connection that is busy, and say whether it was.

    Another thread may be using it: its wait is ended first. (What `close` frees, it would go on
    reading.)
    """
    if not _is_busy(connection):
        return False
    with (
        suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as of_the_session,
    ):
        of_the_session.shutdown(socket.SHUT_RDWR)
    if connection.lock.acquire(timeout=_PATIENCE_S):  # else this thread holds it, in a stream
        connection.lock.release()
    connection.close()
    return True


@contextmanager
def ended(connection: Connection) -> Generator[Connection]:
    """Commit what is open, and close; what is busy is closed as it is."""
    try:
        yield connection
    finally:
        close_when_busy(connection)
        with connection:
            pass


def _is_aborted(connection: Connection) -> bool:
    status = connection.info.transaction_status
    return status == psycopg.pq.TransactionStatus.INERROR


def _end(connection: Connection, mark: sql.Identifier, *, keep: bool) -> None:
    how = sql.SQL("RELEASE {}") if keep else sql.SQL("ROLLBACK TO {}")
    try:
        connection.execute(how.format(mark))
    except psycopg.Error as error:
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")
        raise TransactionEnded(
            "the test ended the transaction of rolled_back_connection, so what it wrote may have "
            "stayed; its database is replaced. A test that commits takes `connection` instead"
        ) from error
    with suppress(psycopg.Error):  # a constraint that was deferred is violated: nothing is kept
        connection.execute("COMMIT" if keep else "ROLLBACK")
