"""One simple-query message, sent whole, with every result it brings.

The driver's own `execute` forgets the results before an error; how many there were is what says
which statement of a file failed, and whether the server found as many as the parser did.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg import generators, pq
from psycopg.errors import error_from_result

from headwater.postgres.connect import Connection
from headwater.postgres.ticking import Tick, ticking
from headwater.postgres.translate import session_ended

_SUCCESS = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How the server answered: the result of each statement, and the error that ended them."""

    results: tuple[pq.abc.PGresult, ...] = ()
    error: psycopg.Error | None = None

    @property
    def succeeded(self) -> int:
        """Give the number of statements that succeeded."""
        return len(self.results)

    @property
    def lost(self) -> bool:
        """Say whether the connection went, so that nobody knows what the server did."""
        return self.error is not None and session_ended(self.error)

    def row(self, index: int) -> tuple[str | None, ...]:
        """Give the first row of one result, as text; an index below 0 counts from the end."""
        result = self.results[index]
        values = (result.get_value(0, column) for column in range(result.nfields))
        return tuple(None if value is None else value.decode() for value in values)


def send(
    connection: Connection,
    message: bytes,
    *,
    meanwhile: Callable[[], object] | None = None,
    tick: Tick | None = None,
) -> Reply:
    """Send a message of one or more statements, and wait for all of the answer.

    `meanwhile` is called once the message is on its way, to work while the server does; what it
    raises cancels the statement, and is raised after the answer has come. `tick` looks after a long
    wait; what it raises ends it: a driver error as the reply's. Ctrl-C cancels the statement on the
    server and waits for its end before it is raised.
    """
    pgconn = connection.pgconn
    try:
        with connection.lock:
            pgconn.send_query(message)
            try:
                if meanwhile is not None:
                    meanwhile()
            except BaseException:
                # Ctrl-C mostly: nobody waits for this answer any more.
                with suppress(psycopg.Error):
                    pgconn.get_cancel().cancel()
                raise
            finally:
                answer = generators.execute(pgconn)
                results = connection.wait(ticking(answer, tick) if tick else answer)
    except psycopg.Error as error:
        return Reply(error=error)
    good = list[pq.abc.PGresult]()
    for result in results:
        if result.status not in _SUCCESS:
            return Reply(results=tuple(good), error=_error_of(result))
        good.append(result)
    return Reply(results=tuple(good))


def _error_of(result: pq.abc.PGresult) -> psycopg.Error:
    if result.status == pq.ExecStatus.FATAL_ERROR:
        return error_from_result(result, encoding="utf-8")
    return psycopg.ProgrammingError(f"unexpected result {pq.ExecStatus(result.status).name}")
