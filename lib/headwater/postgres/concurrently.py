"""Statements outside of a transaction: which they are, and how one is looked after while it runs.

A CONCURRENTLY waits for every transaction that could still see the old state, and must not be cut
short by lock_timeout: it would leave an invalid index. It runs without one, watched: whom it waits
for is told while it waits, and after a limit of its own it is cancelled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from headwater.errors import HeadwaterError
from headwater.files.refusals import needs_no_transaction
from headwater.model import Notify, Said
from headwater.postgres.connect import Connection
from headwater.postgres.job import Sessions
from headwater.postgres.translate import translated
from headwater.postgres.watching import Look, Watcher
from headwater.postgres.wire import Reply, send

if TYPE_CHECKING:
    from headwater.files.grammar import Statement

# Whether these may run in a transaction depends on the database (a partitioned table, a slot of a
# subscription), or on what a procedure does.
_MAYBE_OUTSIDE = (
    "call_stmt",
    "cluster_stmt",
    "discard_stmt",
    "drop_subscription_stmt",
    "alter_subscription_stmt",
    "reindex_stmt",
)
_ENDS_TRANSACTIONS = re.compile(r"\b(?:commit|rollback|call)\b", re.IGNORECASE)

# The seconds between two sentences about one wait.
_TELL_S = 10.0


def runs_in_transaction(statement: Statement) -> bool:
    """Say whether a statement can run in a transaction with its line in the journal."""
    if statement.kind == "do_stmt":
        return not _ENDS_TRANSACTIONS.search(statement.text)
    return statement.kind not in _MAYBE_OUTSIDE and not needs_no_transaction(statement)


def is_concurrent(statement: Statement) -> bool:
    """Say whether it is a CONCURRENTLY, which waits for other transactions by its nature."""
    return needs_no_transaction(statement).endswith("CONCURRENTLY")


@dataclass(slots=True, kw_only=True)
class Attended:
    """Sends one statement outside of a transaction, and looks after it."""

    name: str
    """What it is for people: `0002_x.sql, statement 1`."""
    session: Sessions
    connection: Connection
    concurrent: bool
    wait_ms: int
    """How long a CONCURRENTLY may wait for others, all in all."""
    notify: Notify
    gave_up: str = ""
    """Why it was cancelled, if we cancelled it."""
    _waited_s: float = 0.0
    _told_s: float = 0.0
    _told: str = ""
    _watcher: Watcher | None = field(default=None, repr=False)

    def send(self, text: bytes) -> Reply:
        """Send it, and wait for its end; lock_timeout is as it was afterwards."""
        if not self.concurrent:
            with self.session.watch() as watcher:
                return send(self.connection, text, tick=watcher.tick)
        with translated("preparing the session"):
            row = self.connection.execute(
                "SELECT pg_catalog.current_setting('lock_timeout'), "
                "pg_catalog.set_config('lock_timeout', '0', false)"
            ).fetchone()
        with self.session.watch(self._seen, pause_s=1.0) as watcher:
            self._watcher = watcher
            reply = send(self.connection, text, tick=watcher.tick)
        if not reply.lost and row is not None:
            with translated("restoring lock_timeout"):
                self.connection.execute(
                    "SELECT pg_catalog.set_config('lock_timeout', %s, false)", (row[0],)
                )
        return reply

    def _seen(self, look: Look, passed_s: float) -> None:
        """Tell how far it has come, and whom it waits for; cancel it when that takes too long."""
        waits = bool(look.waits or look.blockers)
        self._told_s += passed_s
        if waits:
            self._waited_s += passed_s
        what = "; ".join(["waiting for " + "; ".join(look.blockers)] if waits else [look.progress])
        kind = what.split("(")[0]
        if what and (kind != self._told or self._told_s >= _TELL_S):
            self.notify(Said(message=f"{self.name}: {what}"))
            self._told, self._told_s = kind, 0.0
        if waits and not self.gave_up and self._waited_s * 1_000 >= self.wait_ms:
            self._cancel(look)

    def _cancel(self, look: Look) -> None:
        try:
            if self._watcher is not None:
                self._watcher.cancel()
        except (psycopg.Error, HeadwaterError):
            return  # tried again at the next look
        whom = "; ".join(look.blockers) or "a lock"
        limit = f"{self.wait_ms / 1_000:g} s (--wait-concurrently)"
        self.gave_up = f"cancelled: it waited longer than {limit} for {whom}"
