"""COMMIT, whose end is known: done, not done, or a question that nobody can answer.

The answer to COMMIT is the only one whose loss says nothing about what the server did. Then the
server is asked: what the transaction wrote is there, or it was rolled back (by its number, or
because it is no longer in progress). Only a server that cannot be asked leaves it unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from headwater.errors import HeadwaterError, OutcomeUnknown
from headwater.model import Notify, Said, Target
from headwater.postgres.connect import Connection, connect, pin_for_bookkeeping
from headwater.postgres.ticking import Tick
from headwater.postgres.translate import translated
from headwater.postgres.wire import Reply, send

# How long to ask for a server that does not answer, and for one that says "in progress": its
# backend notices after client_connection_check_interval that nobody listens.
_UNREACHABLE_S = 15.0
_IN_PROGRESS_S = 120.0
_PAUSE_S = 0.25

# NULL for a number that is too old, or that this server has never given (after a fail-over).
_STATUS = """
SELECT CASE WHEN %(transaction)s::text::xid8 < pg_catalog.pg_snapshot_xmax(
                 pg_catalog.pg_current_snapshot())
            THEN pg_catalog.pg_xact_status(%(transaction)s::text::xid8) END
"""


class NotCommitted(Exception):
    """The connection was lost around COMMIT, and the transaction was rolled back: it is known."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(str(error).strip())
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A transaction that is to be committed: how to recognise it, and who is told."""

    what: str
    """What it is for people: `0002_x.sql`, or a statement of it."""
    transaction: int
    """Its number: pg_current_xact_id()."""
    target: Target
    is_there: Callable[[Connection], bool]
    """Whether what it wrote is there; asked over a connection with an empty search_path."""
    notify: Notify


def commit(connection: Connection, pending: Pending, *, tick: Tick | None = None) -> None:
    """Commit, and return only when that is known.

    Raises psycopg.Error when the server refused (it was rolled back), NotCommitted when the
    connection was lost and it was rolled back, OutcomeUnknown when nobody can say.
    """
    reply = send(connection, b"COMMIT", tick=tick)
    if reply.error is None:
        if not says_committed(reply):
            raise psycopg.errors.InFailedSqlTransaction("COMMIT was answered by ROLLBACK")
        return
    if not reply.lost:
        raise reply.error
    connection.close()
    require_committed(pending, reply.error)


def says_committed(reply: Reply) -> bool:
    """Say whether the first result of a reply answers COMMIT as it should.

    (A transaction that has failed answers it by ROLLBACK, and that is no error.)
    """
    return reply.succeeded > 0 and reply.results[0].command_status == b"COMMIT"


def require_committed(pending: Pending, lost: psycopg.Error) -> None:
    """Ask the server, after the connection was lost around COMMIT.

    Raises NotCommitted when it was rolled back, OutcomeUnknown when nobody can say.
    """
    pending.notify(Said(message=f"{pending.what}: the connection was lost; asking the server"))
    if not _was_committed(pending, lost):
        raise NotCommitted(lost) from lost


def is_committed(connection: Connection, pending: Pending) -> bool:
    """Say whether it is committed by now, from another session; its search_path is empty."""
    row = connection.execute(_STATUS, {"transaction": pending.transaction}).fetchone()
    return row == ("committed",)


def _was_committed(pending: Pending, lost: psycopg.Error) -> bool:
    begun = time.monotonic()
    patience_s = _UNREACHABLE_S
    while time.monotonic() - begun < patience_s:
        try:
            with (
                connect(pending.target, purpose="outcome", impatient=True) as another,
                translated("asking the server"),
            ):
                answer = _ask(another, pending)
        except HeadwaterError:
            answer = None
        else:
            patience_s = _IN_PROGRESS_S
        if answer is not None:
            return answer
        time.sleep(_PAUSE_S)
    raise OutcomeUnknown(
        f"{pending.what}: the connection was lost around COMMIT, and the server cannot be asked",
        detail=str(lost).strip(),
        hint="run invoke status when the server answers again",
    ) from lost


def _ask(connection: Connection, pending: Pending) -> bool | None:
    """Say whether it was committed; None while it is in progress, or when it cannot be told.

    Its number is asked about first: what is written in the moment after that is still seen.
    """
    pin_for_bookkeeping(connection)
    row = connection.execute(_STATUS, {"transaction": pending.transaction}).fetchone()
    if pending.is_there(connection):
        return True
    return False if row == ("aborted",) else None
