"""Poolers: whether one stands between, and whether it leaves us our session.

A pooler in session mode is as good as the server. In transaction mode each statement may run on
another backend, shared with the application: a lock held there holds nobody off, and a SET there is
the application's next surprise. So it is told before anything is locked or set.

A pooler shows by the process number that it gives when connecting, which is not the backend's. Its
mode shows only by what it does: it gave us two backends, or gave ours to somebody else.
"""

from __future__ import annotations

import selectors
from contextlib import ExitStack

from psycopg import generators, pq
from psycopg.errors import error_from_result

from headwater.errors import TargetError, Unreachable
from headwater.model import Target
from headwater.postgres.connect import Connection, connect
from headwater.postgres.translate import session_ended, translated, translation

# A pool that is used up answers when another client goes, or never.
ANSWER_TIMEOUT_S = 10

# What a run needs besides its lock: one to read the history, one for the files, one for the
# journal of a no-transaction file.
_SESSIONS = 4

# Each round opens new connections: of several poolers behind one address they may find another, and
# only one that meets ours shows anything.
_ROUNDS = 4

# Nothing is set and nothing is locked, no transaction is begun: it may be somebody else's session.
_BACKEND = b"SELECT pg_catalog.pg_backend_pid()"
_ASKING = "asking which session this is"


def require_own_session(connection: Connection, target: Target) -> bool:
    """Raise TargetError unless the session is ours alone; say whether a pooler stands between.

    Call it before anything is set in the session. Of a direct connection it asks one question.
    Raises Unreachable when a pool has no room for the sessions of a run.
    """
    if _backend(connection, target) == connection.info.backend_pid:
        return False
    if _is_shared(connection, target):
        raise TargetError(
            "this connection goes through a pooler that shares its sessions (transaction mode); "
            "nothing was touched",
            detail="the lock that keeps two runners apart does not hold there, and what a run sets "
            "in its session would reach the application",
            hint=f"name the server itself, or a pool in session mode, in {target.source}",
        )
    return True


def _is_shared(connection: Connection, target: Target) -> bool:
    """Look whether our statements move among backends, or another client gets ours.

    Two of ours, one after the other, differ where the pool takes turns; where it hands out what
    came back last, the next client has ours. Between them every pool shows itself that is not
    disturbed, and one that is disturbed by others moves us sooner.
    """
    for _ in range(_ROUNDS):
        with ExitStack() as stack:
            ours = {_backend(connection, target), _backend(connection, target)}
            # At once, as a run has them: what has no room for them is told here, not half-way.
            others = [
                stack.enter_context(connect(target, purpose="pooler check"))
                for _ in range(_SESSIONS - 2)
            ]
            theirs = {_backend(other, target) for other in others}
            ours |= {_backend(connection, target)}
            if len(ours) > 1 or ours & theirs:
                return True
    return False


def _backend(connection: Connection, target: Target) -> int:
    """Ask which backend runs this statement, and wait no longer than a server needs."""
    pgconn = connection.pgconn
    with translated(_ASKING), connection.lock:
        pgconn.send_query(_BACKEND)
        if not _answers(pgconn):
            raise _no_session(target, f"no answer within {ANSWER_TIMEOUT_S} s")
        [result] = connection.wait(generators.execute(pgconn))
    found = result.get_value(0, 0) if result.status == pq.ExecStatus.TUPLES_OK else None
    if found is None:
        error = error_from_result(result, encoding="utf-8")
        if session_ended(error):
            raise translation(error, _ASKING)
        raise _no_session(target, str(error).strip()) from error
    return int(found)


def _no_session(target: Target, why: str) -> Unreachable:
    return Unreachable(
        f"no session is to be had from {target}; nothing was touched",
        detail=f"{why}\na pooler whose sessions are all in use makes its clients wait",
        hint=f"give its pool room for {_SESSIONS} sessions more, or name the server itself",
    )


def _answers(pgconn: pq.abc.PGconn) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)
        return bool(selector.select(ANSWER_TIMEOUT_S))
