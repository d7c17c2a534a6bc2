"""Waiting for the server without losing sight of the clock.

The driver waits for as long as it takes. A connection whose other end has vanished without a word
(a firewall that forgot it, a host that lost its power) would keep us there for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg

Tick = Callable[[float], object]
"""Called about ten times a second while an answer is awaited, with the seconds since it was."""

T = TypeVar("T")

# What we ask for ourselves takes milliseconds, and waits for a lock no longer than lock_timeout.
ANSWER_S = 30.0


def ticking(answer: Generator[Any, Any, T], tick: Tick) -> Generator[Any, Any, T]:
    """Pass the driver's generator on, calling `tick` whenever an interval brought nothing.

    (The driver resumes its generators with 0 then: psycopg.waiting.)
    """
    begun = time.monotonic()
    try:
        wanted = next(answer)
        while True:
            ready = yield wanted
            if not ready:
                tick(time.monotonic() - begun)
            wanted = answer.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


class ImpatientConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection for bookkeeping: an answer that does not come within `ANSWER_S` is a loss.

    It is closed then, and psycopg.OperationalError raised, like that of a connection that was cut.
    """

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for an answer, but not for ever."""
        return super().wait(ticking(gen, self._tick), *args, **options)

    def _tick(self, waited_s: float) -> None:
        if waited_s >= ANSWER_S:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server gave no answer for {ANSWER_S:.0f} s")
