"""One file that is to be run, and the sessions that files run on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from headwater.model import Migration, Notify, Target, ignore
from headwater.postgres import history
from headwater.postgres.connect import Connection, connect, pin, pins
from headwater.postgres.translate import translated
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


# --- sessions ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Sessions:
    """The connection that files run on: a fresh one wherever state of a file could leak."""

    target: Target
    stack: ExitStack
    lock: Connection | None = None
    """The connection that holds the lock; None where the caller looks after it."""
    connection: Connection | None = None
    lock_timeout_ms: int = -1

    def for_file(self, lock_timeout_ms: int) -> Connection:
        """Give a pinned connection on which no earlier file has left anything."""
        if self.connection is not None and self.connection.closed:
            self.discard()
        if self.connection is None:
            self.connection = self.stack.enter_context(connect(self.target, purpose="migrate"))
            self.lock_timeout_ms = -1
        if self.lock_timeout_ms != lock_timeout_ms:
            with translated("preparing the session"):
                pin(self.connection, lock_timeout_ms=lock_timeout_ms)
            self.lock_timeout_ms = lock_timeout_ms
        return self.connection

    def lock_is_held(self) -> bool:
        """Ask the connection of the lock: when it is gone, another runner may have begun."""
        if self.lock is None:
            return True
        try:
            self.lock.execute("SELECT")
        except psycopg.Error:
            return False
        return True

    def discard(self) -> None:
        """Close the connection: the next file gets another one."""
        self.stack.close()
        self.connection = None


@contextmanager
def sessions(target: Target, lock: Connection | None) -> Generator[Sessions]:
    """Open connections as they are needed, and close the last one."""
    with ExitStack() as stack:
        yield Sessions(target=target, stack=stack, lock=lock)


# --- the file ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One accepted file that is to be run, with what its record and its errors need."""

    file: Accepted
    settings: Settings
    out_of_order: bool = False
    done: int = 0
    """How many files were applied before it in this run."""
    notify: Notify = ignore

    @property
    def migration(self) -> Migration:
        """Give the migration."""
        return self.file.migration

    def record(self, connection: Connection, duration: sql.Composable = SERVER_DURATION) -> bytes:
        """Give the statements that record the file, whatever it did to its session."""
        return CLEAR_THE_WAY + history.record(
            connection,
            self.settings,
            self.migration,
            tokens=self.file.tokens,
            out_of_order=self.out_of_order,
            duration=duration,
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
