"""Looking after a statement from another connection, for as long as it runs.

A look says whether the backend still works, whom it waits for, and how far an index build has come.
It is how a lost answer is noticed on a connection that says nothing, and how the sessions that
stand in the way are named while they do: afterwards they can only be guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

import psycopg

from headwater.errors import HeadwaterError
from headwater.model import Target
from headwater.postgres.connect import Connection, connect, pin_for_bookkeeping

# When to look, in seconds of waiting: soon, for the names of blockers; then now and then.
_FIRST_LOOK_S = 0.15
_LONGEST_PAUSE_S = 5.0

# A backend that has had nothing to do for so long has answered, and the answer was lost.
_SILENT_S = 5.0
_FAILED_LOOKS = 3

_LOOK = """
SELECT a.state = 'active',
       extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change)::float8,
       a.wait_event_type = 'Lock',
       ARRAY(SELECT pg_catalog.format('process %%s (%%s as %%s, %%s): %%s', b.pid,
                    coalesce(nullif(b.application_name, ''), 'unnamed'), b.usename,
                    'in a transaction for '
                    || pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - b.xact_start),
                    pg_catalog.left(pg_catalog.regexp_replace(b.query, '\\s+', ' ', 'g'), 80))
               FROM pg_catalog.pg_stat_activity b
              WHERE b.pid = ANY (pg_catalog.pg_blocking_pids(a.pid)) ORDER BY b.pid),
       (SELECT pg_catalog.concat(p.phase, ' ', CASE
                    WHEN p.lockers_total > 0
                    THEN pg_catalog.format('(%%s of %%s transactions have ended)',
                                           p.lockers_done, p.lockers_total)
                    WHEN p.blocks_total > 0
                    THEN pg_catalog.format('(%%s of %%s blocks)', p.blocks_done, p.blocks_total)
                    WHEN p.tuples_total > 0
                    THEN pg_catalog.format('(%%s of %%s rows)', p.tuples_done, p.tuples_total)
                    END)
          FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid = a.pid)
  FROM pg_catalog.pg_stat_activity a WHERE a.pid = %(pid)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at a backend has shown."""

    active: bool
    since_s: float
    """For how long it has been in its state."""
    waits: bool
    """Whether it waits for a lock."""
    blockers: Sequence[str]
    progress: str
    """How far an index build has come; empty for anything else."""


@dataclass(slots=True)
class Watcher:
    """Looks after the backend `pid`; `tick` is what `wire.send` calls while it waits.

    `lock` is the connection that holds the lock: it does nothing else while a file runs, and is in
    autocommit, so that it holds up no CONCURRENTLY. Without one, or when it is lost, a connection
    of its own is used.
    """

    target: Target
    pid: int
    lock: Connection | None
    seen: Callable[[Look, float], object] | None = None
    """Told of each look, with the seconds since the one before it."""
    pause_s: float = _LONGEST_PAUSE_S
    """The longest pause between two looks."""
    blockers: Sequence[str] = ()
    """Those that were seen last."""
    _next_look_s: float = _FIRST_LOOK_S
    _last_look_s: float = 0.0
    _failed_looks: int = 0
    _own: Connection | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tick(self, waited_s: float) -> None:
        """Look, when it is time to. Raises psycopg.OperationalError when the answer is lost."""
        if waited_s < self._next_look_s:
            return
        self._next_look_s = waited_s + min(max(waited_s, _FIRST_LOOK_S), self.pause_s)
        passed, self._last_look_s = waited_s - self._last_look_s, waited_s
        try:
            look = self._look()
        except (psycopg.Error, HeadwaterError) as error:
            self._failed(error)
            return
        if look is None:
            self._failed(psycopg.OperationalError("its process on the server is gone"))
        elif not look.active and look.since_s >= _SILENT_S:
            raise psycopg.OperationalError("the server has answered, and the answer was lost")
        else:
            self._failed_looks = 0
            self._take(look, passed)

    def _take(self, look: Look, passed_s: float) -> None:
        if look.blockers:
            self.blockers = look.blockers
        if self.seen is not None:
            self.seen(look, passed_s)

    def _failed(self, error: Exception) -> None:
        """Count what went wrong: a server that cannot be asked again and again is gone."""
        self._own = None
        self._failed_looks += 1
        self._next_look_s = self._last_look_s + 1.0
        if self._failed_looks >= _FAILED_LOOKS:
            raise psycopg.OperationalError(f"the connection was lost: {error}")

    def _look(self) -> Look | None:
        row = self._connection().execute(_LOOK, {"pid": self.pid}).fetchone()
        if row is None:
            return None
        active, since_s, waits, blockers, progress = row
        return Look(
            active=active is not False,  # NULL: hidden from this role
            since_s=since_s or 0.0,
            waits=bool(waits),
            blockers=blockers,
            progress=(progress or "").strip(),
        )

    def _connection(self) -> Connection:
        if self.lock is not None and not self.lock.closed and not self._failed_looks:
            return self.lock
        if self._own is None:
            self._own = self._stack.enter_context(
                connect(self.target, purpose="watch", impatient=True)
            )
            pin_for_bookkeeping(self._own)
        return self._own

    def cancel(self) -> None:
        """Cancel the statement: it fails with QueryCanceled, and `wire.send` returns."""
        self._connection().execute("SELECT pg_catalog.pg_cancel_backend(%s)", (self.pid,))
