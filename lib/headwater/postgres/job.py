"""One file that is to be run, and the sessions that files run on."""

from __future__ import annotations

import select
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq, sql

from headwater.model import Migration, Notify, Target, ignore
from headwater.postgres import record
from headwater.postgres.connect import Connection, connect, pin, pins
from headwater.postgres.lock import held_by
from headwater.postgres.session import Residue, forgetting
from headwater.postgres.translate import translated
from headwater.postgres.watching import Look, Watcher
from headwater.postgres.wire import send
from headwater.settings import Settings
from headwater.settings_forms import milliseconds

if TYPE_CHECKING:
    from headwater.files.accepted import Accepted

SERVER_DURATION = sql.SQL(
    "pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - "
    "pg_catalog.statement_timestamp()) * 1000)::bigint"
)


def lock_timeout_of(migration: Migration, settings: Settings) -> int:
    """Give the lock timeout of a file in ms: its directive's, or the setting."""
    for directive in migration.directives:
        if directive.name == "lock-timeout":
            return milliseconds(directive.value)
    return settings.lock_timeout_ms


# How long a session's end may come behind the server's words about it. A session that only holds
# the lock hears of hardly anything else, so that a sound run does not wait for this.
_WORDS_TO_END_S = 0.1


# --- sessions ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Sessions:
    """The connection that files run on: a fresh one wherever state of a file could leak."""

    target: Target
    stack: ExitStack
    lock: Connection | None = None
    """The connection that holds the lock; None where the caller looks after it."""
    lock_pid: int = 0
    connection: Connection | None = None
    pid: int = 0
    """The backend of `connection`, as the server knows it (a pooler gives another number)."""
    lock_timeout_ms: int = -1
    residue: Residue = field(default_factory=Residue)

    def for_file(self, lock_timeout_ms: int) -> Connection:
        """Give a pinned connection on which no earlier file has left anything."""
        if self.connection is not None and self.connection.closed:
            self.discard()
        if self.connection is None:
            self.connection = self.stack.enter_context(connect(self.target, purpose="migrate"))
            self.pid = backend_of(self.connection)
            self.lock_timeout_ms = -1
        if self.lock_timeout_ms != lock_timeout_ms:
            with translated("preparing the session"):
                pin(self.connection, lock_timeout_ms=lock_timeout_ms)
            self.lock_timeout_ms = lock_timeout_ms
        return self.connection

    def lock_is_held(self) -> bool:
        """Say whether the connection of the lock stands: without it another runner may begin.

        Costs no round trip: a server that ends a session says so, and that can be read. What has
        vanished without a word is found by the server, when the record is judged.
        """
        if self.lock is None:
            return True
        try:
            # First come the words of the server, which alone end nothing, and then the end.
            patience_s = 0.0
            while select.select([self.lock.fileno()], [], [], patience_s)[0]:
                self.lock.pgconn.consume_input()
                patience_s = _WORDS_TO_END_S
        except (psycopg.Error, OSError, ValueError):
            return False
        return not self.lock.closed and self.lock.pgconn.status == pq.ConnStatus.OK

    def watch(
        self, seen: Callable[[Look, float], object] | None = None, *, pause_s: float = 5.0
    ) -> Watcher:
        """Look after the statement that runs on the session, by way of the lock's connection."""
        return Watcher(target=self.target, pid=self.pid, lock=self.lock, seen=seen, pause_s=pause_s)

    def forget(self, file: Accepted) -> None:
        """Make sure that the next file finds nothing of this one: clean the session, or end it."""
        if self.connection is None:
            return
        self.residue.note(self.connection, file)
        if self.residue.is_clean_behind(file):
            return
        if self.residue.can_be_removed(file):
            reply = send(self.connection, forgetting(self.connection, self.lock_timeout_ms))
            if reply.error is None:
                return
        self.discard()

    def discard(self) -> None:
        """Close the connection: the next file gets another one."""
        self.stack.close()
        self.connection = None


def backend_of(connection: Connection) -> int:
    """Ask the server for the process that serves a connection."""
    with translated("preparing the session"):
        row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


@contextmanager
def sessions(target: Target, lock: Connection | None) -> Generator[Sessions]:
    """Open connections as they are needed, and close the last one."""
    with ExitStack() as stack:
        lock_pid = backend_of(lock) if lock is not None else 0
        yield Sessions(target=target, stack=stack, lock=lock, lock_pid=lock_pid)


# --- the file ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One accepted file that is to be run, with what its record and its errors need."""

    file: Accepted
    settings: Settings
    out_of_order: bool = False
    done: int = 0
    """How many files were applied before it in this run."""
    lock_pid: int = 0
    """The backend that holds the lock; 0 where the caller looks after it."""
    notify: Notify = ignore

    @property
    def migration(self) -> Migration:
        """Give the migration."""
        return self.file.migration

    @property
    def lock(self) -> sql.Composable:
        """Give the expression that says whether the lock is held."""
        if not self.lock_pid:
            return sql.SQL("true")
        return held_by(self.lock_pid, self.settings.lock_key)

    def record(self, connection: Connection, duration: sql.Composable = SERVER_DURATION) -> bytes:
        """Give the statements that record the file and judge it, whatever it did to its session."""
        return CLEAR_THE_WAY + record.record(
            connection,
            self.settings,
            self.migration,
            tokens=self.file.tokens,
            out_of_order=self.out_of_order,
            duration=duration,
            lock=self.lock,
        )


# The file may have changed the role and the search_path. With an empty one only pg_catalog is
# searched, and no object of somebody's schema can stand in for a function or an operator.
CLEAR_THE_WAY = b"RESET SESSION AUTHORIZATION; RESET ROLE; SET LOCAL search_path = '';\n"


def begin_afresh(connection: Connection, job: Job) -> bytes:
    """Give what makes a post-condition mean the same, whatever its file did to the session."""
    lock_timeout_ms = lock_timeout_of(job.migration, job.settings)
    return b"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL;\n" + pins(
        connection, lock_timeout_ms=lock_timeout_ms
    )
