"""One simple-query message, sent whole, with every result it brings.

The driver's own `execute` forgets the results before an error; how many there were is what says
which statement of a file failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import generators, pq
from psycopg.errors import error_from_result

from headwater.postgres.connect import Connection
from headwater.postgres.translate import session_ended

_SUCCESS = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How the server answered: how many statements succeeded, and the error that ended it."""

    succeeded: int
    error: psycopg.Error | None = None

    @property
    def lost(self) -> bool:
        """Say whether the connection went, so that nobody knows what the server did."""
        return self.error is not None and session_ended(self.error)


def send(
    connection: Connection, message: bytes, *, meanwhile: Callable[[], object] | None = None
) -> Reply:
    """Send a message of one or more statements, and wait for all of the answer.

    `meanwhile` is called once the message is on its way, to work while the server does; what it
    raises is raised after the answer has come. Ctrl-C cancels the statement on the server and
    waits for its end before it is raised.
    """
    pgconn = connection.pgconn
    try:
        with connection.lock:
            pgconn.send_query(message)
            try:
                if meanwhile is not None:
                    meanwhile()
            finally:
                results = connection.wait(generators.execute(pgconn))
    except psycopg.Error as error:
        return Reply(succeeded=0, error=error)
    good = 0
    for result in results:
        if result.status not in _SUCCESS:
            return Reply(succeeded=good, error=_error_of(result))
        good += 1
    return Reply(succeeded=good)


def _error_of(result: pq.abc.PGresult) -> psycopg.Error:
    if result.status == pq.ExecStatus.FATAL_ERROR:
        return error_from_result(result, encoding="utf-8")
    return psycopg.ProgrammingError(f"unexpected result {pq.ExecStatus(result.status).name}")
