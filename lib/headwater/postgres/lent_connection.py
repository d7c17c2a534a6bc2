"""A connection that is lent to somebody's code: its session is ours, and its transaction, too.

The code gets a connection object of its own over the same session: what it sets there (a row
factory, an adapter) goes with it, and what would end the transaction is refused at its line. An SQL
command that would is refused by the server.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn

import psycopg

from headwater.postgres.connect import Connection


class NotYours(Exception):
    """The transaction is not the borrower's to end."""


class LentConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose transaction somebody else begins and ends."""

    def commit(self) -> NoReturn:
        """Refuse to."""
        raise NotYours("it does not commit: Headwater does, when every seed has run")

    def rollback(self) -> NoReturn:
        """Refuse to."""
        raise NotYours("it does not roll back: raise an error, or use connection.transaction()")

    def close(self) -> NoReturn:
        """Refuse to."""
        raise NotYours("it does not close the connection, which is lent to it")

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.commit()

    def __del__(self, *_: object) -> None:
        """Say nothing of a session that stays open: it is not this object's."""


@contextmanager
def lent(connection: Connection) -> Generator[LentConnection]:
    """Lend a connection whose transaction is open."""
    pgconn = connection.pgconn
    handlers = pgconn.notice_handler, pgconn.notify_handler
    borrowed = LentConnection(pgconn)
    borrowed.prepare_threshold = None
    try:
        yield borrowed
    finally:
        pgconn.notice_handler, pgconn.notify_handler = handlers


# Two temporary tables with which no transaction can be committed: PostgreSQL empties the first one
# then, and refuses to, because the second one refers to it and is kept ("unsupported ON COMMIT and
# foreign key combination"). Other than a deferred constraint they are not asked by SET CONSTRAINTS.
# DISCARD TEMP takes them away.
_NO_COMMIT = b"""\
CREATE TEMPORARY TABLE %(name)b (i integer PRIMARY KEY) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE %(name)b_kept (i integer REFERENCES pg_temp.%(name)b);
"""


def no_commit(name: bytes) -> bytes:
    """Give the statements after which COMMIT fails, until DISCARD TEMP; `name` is random."""
    return _NO_COMMIT % {b"name": name}


def was_refused(error: psycopg.Error, name: bytes) -> bool:
    """Say whether a COMMIT failed by those tables."""
    words = f"{error.diag.message_primary} {error.diag.message_detail}"
    return isinstance(error, psycopg.errors.FeatureNotSupported) and name.decode() in words
