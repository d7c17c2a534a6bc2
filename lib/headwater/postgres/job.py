"""One file that is to be run, and the sessions that files run on."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq

from headwater.model import Finished, Migration, MigrationResult, Notify, Target, ignore
from headwater.postgres import history, record
from headwater.postgres.commit import Pending, is_committed
from headwater.postgres.connect import Connection, connect, has_heard, pin, pins
from headwater.postgres.session import Residue, Traces, forgetting, traces_of
from headwater.postgres.translate import translated
from headwater.postgres.watching import Look, Watcher
from headwater.postgres.wire import send
from headwater.settings import Settings
from headwater.settings_forms import milliseconds

if TYPE_CHECKING:
    from headwater.files.accepted import Accepted


def lock_timeout_of(migration: Migration, settings: Settings) -> int:
    """Give the lock timeout of a file in ms: its directive's, or the setting."""
    for directive in migration.directives:
        if directive.name == "lock-timeout":
            return milliseconds(directive.value)
    return settings.lock_timeout_ms


# How long a session's end may come behind the server's words about it. A session that only holds
# the lock hears of hardly anything else, so that a sound run does not wait for this.
_WORDS_TO_END_S = 0.1

# Characters of a file that COMMIT of the one before may travel with: the server reads all of a
# message before it runs any of it, and meanwhile what that one has locked stays locked.
_SMALL = 32_768

# When to ask for the end of a COMMIT that travels with a file, in seconds of waiting for that file.
_LOOK_S = 0.2

# For how long an answer on the connection of the lock counts as a proof that it stands. (Two runs
# at once could not record one file twice even so: the second would find the record of the first.)
_PROOF_S = 1.0


# --- sessions ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Sessions:
    """The connection that files run on: a fresh one wherever state of a file could leak."""

    target: Target
    stack: ExitStack
    lock: Connection | None = None
    """The connection that holds the lock; None where the caller looks after it."""
    proved_at: float = field(default_factory=time.monotonic)
    """When the server was last seen to answer on the connection of the lock."""
    connection: Connection | None = None
    pid: int = 0
    """The backend of `connection`, as the server knows it (a pooler gives another number)."""
    lock_timeout_ms: int = -1
    residue: Residue = field(default_factory=Residue)
    deferred: Deferred | None = None
    """The file before, when it is still to be committed, with the next message."""
    results: list[MigrationResult] = field(default_factory=list)
    """Of the files that are applied, in order."""

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

        A server that ends a session says so, and that is read without a round trip. What vanishes
        without a word is found by asking, at least once in `_PROOF_S`.
        """
        if self.lock is None:
            return True
        try:
            # First come the words of the server, which alone end nothing, and then the end.
            patience_s = 0.0
            while has_heard(self.lock, patience_s):
                self.lock.pgconn.consume_input()
                patience_s = _WORDS_TO_END_S
            if time.monotonic() - self.proved_at > _PROOF_S:
                self.lock.execute("SELECT")
                self.proved_at = time.monotonic()
        except (psycopg.Error, OSError):
            return False
        return not self.lock.closed and self.lock.pgconn.status == pq.ConnStatus.OK

    def watch(
        self, seen: Callable[[Look, float], object] | None = None, *, pause_s: float = 5.0
    ) -> Watcher:
        """Look after the statement that runs on the session, by way of the lock's connection."""
        return Watcher(target=self.target, pid=self.pid, lock=self.lock, seen=seen, pause_s=pause_s)

    def finish(self, job: Job, result: MigrationResult) -> None:
        """Tell that a file is applied."""
        job.let_go()
        self.results.append(result)
        job.notify(Finished(result=result))

    def look_after_deferred(self, waited_s: float) -> None:
        """Tell of the file before as soon as it is committed, when this one takes its time."""
        if self.deferred is None or self.lock is None or waited_s < _LOOK_S:
            return
        with suppress(psycopg.Error):
            if not self.deferred.finished and is_committed(self.lock, self.deferred.pending):
                self.finish_deferred(self.deferred)

    def finish_deferred(self, deferred: Deferred) -> None:
        """Tell once that a file whose COMMIT had been left to the next message is applied."""
        if not deferred.finished:
            deferred.finished = True
            self.finish(deferred.job, deferred.result)

    def cleaning(self, job: Job) -> bytes | None:
        """Give the statements that clean the session behind a file; empty: nothing is left.

        None where the database must be asked first, or the session must be replaced.
        """
        self.residue.note(job.traces)
        if not self.residue.is_known or self.connection is None or self.connection.closed:
            return None
        if self.residue.is_clean_behind(job.traces):
            return b""
        if not self.residue.can_be_removed(job.migration):
            return None
        return forgetting(self.connection, self.lock_timeout_ms)

    def forget(self, job: Job) -> None:
        """Make sure that the next file finds nothing of this one: clean the session, or end it."""
        cleaning = self.cleaning(job)
        if self.connection is None or self.connection.closed:
            return
        if not self.residue.is_known:
            self.residue.ask(self.connection, job.settings)
            cleaning = self.cleaning(job)
        if cleaning is None or (cleaning and send(self.connection, cleaning).error is not None):
            self.discard()

    def discard(self) -> None:
        """Close the connection: the next file gets another one."""
        self.stack.close()
        self.connection = None


@dataclass(slots=True, kw_only=True)
class Deferred:
    """A file that ran and was judged, and is committed by the message of the next one.

    Together with what cleans the session behind it: that saves a round trip.
    """

    job: Job
    result: MigrationResult
    pending: Pending
    cleaning: bytes
    finished: bool = False
    """Whether it is known to be committed, and was told."""

    @property
    def message(self) -> bytes:
        """Give what is sent in front of the next file."""
        # In a transaction of its own: what comes behind would otherwise be drawn into the next one.
        between = b"BEGIN;\n" + self.cleaning + b"COMMIT;\n" if self.cleaning else b""
        return b"COMMIT;\n" + between


def backend_of(connection: Connection) -> int:
    """Ask the server for the process that serves a connection."""
    with translated("preparing the session"):
        row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


@contextmanager
def sessions(target: Target, lock: Connection | None) -> Generator[Sessions]:
    """Open connections as they are needed, and close the last one."""
    with ExitStack() as stack:
        yield Sessions(target=target, stack=stack, lock=lock)


# --- the file ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Job:
    """One accepted file that is to be run, with what its record and its errors need."""

    file: Accepted
    settings: Settings
    out_of_order: bool = False
    done: int = 0
    """How many files come before it in this run: when it begins, they are applied."""
    upcoming: Job | None = None
    """The one that runs on the session behind it."""
    seals: bool = False
    """Whether the fingerprint of the schema is noted with its record."""
    notify: Notify = ignore

    @property
    def migration(self) -> Migration:
        """Give the migration."""
        return self.file.migration

    def prepare_upcoming(self) -> None:
        """Prepare what is needed of the next file, while the server works on this one.

        Not of a large one: the server may have done long before, and holds locks until COMMIT.
        """
        if self.upcoming is not None and self.upcoming.is_small:
            _ = self.upcoming.file.tokens, self.upcoming.traces, self.upcoming.usual_record

    @property
    def is_small(self) -> bool:
        """Say whether the server reads it in no time: in one message with what comes before it."""
        return len(self.migration.text) <= _SMALL

    @cached_property
    def traces(self) -> Traces:
        """Give what it may leave behind."""
        return traces_of(self.file, self.settings)

    def let_go(self) -> None:
        """Forget the parsed text and the prepared record: there may be thousands."""
        self.file.let_go()
        self.__dict__.pop("usual_record", None)

    @cached_property
    def usual_record(self) -> bytes:
        """Give the record of a file that leaves the history alone, as those before it did."""
        return self.record(spares_history=True)

    def record(
        self,
        duration: bytes = record.SERVER_DURATION,
        *,
        spares_history: bool = False,
        fingerprint: str | None = None,
    ) -> bytes:
        """Give the statements that record the file as ourselves, whatever role it has taken.

        Of a down file: those that take away the record of what it undoes.
        """
        if undone := self.migration.undoes:
            return _AS_OURSELVES + record.unrecord(
                self.settings, undone, table_is_plain=spares_history
            )
        return _AS_OURSELVES + record.record(
            self.settings,
            self.migration,
            tokens=self.file.tokens,
            out_of_order=self.out_of_order,
            duration=duration,
            fingerprint=fingerprint,
            table_is_plain=spares_history,
        )

    @property
    def is_sealed(self) -> bool:
        """Say whether its record holds the fingerprint of the schema."""
        return self.seals and not self.migration.undoes

    def sealed_record(
        self, connection: Connection, duration: bytes, *, spares_history: bool = False
    ) -> bytes:
        """Give the record, with the fingerprint of what the open transaction sees where it is due.

        The server works on the file no longer: `duration` is known.
        """
        found = None
        if self.is_sealed:
            from headwater.postgres.seal import fingerprint_of  # only now: it reads catalogues

            found = fingerprint_of(connection, self.settings)
        return self.record(duration, spares_history=spares_history, fingerprint=found)

    def seal_what_stays(self, connection: Connection) -> None:
        """Behind the last of several undone: note the fingerprint with the newest record left."""
        if self.seals and self.migration.undoes:
            from headwater.postgres.seal import seal

            seal(connection, self.settings)

    @property
    def recorded(self) -> str:
        """Give the version that history speaks of: its own, or the one that it undoes."""
        return self.migration.undoes or self.migration.version

    def is_recorded(self, another: Connection) -> bool:
        """Say whether history tells that the file ran; asked from another session."""
        rows = history.read_history(another, self.settings)
        there = any(row.version == self.recorded for row in rows)
        return there is not bool(self.migration.undoes)


_AS_OURSELVES = b"RESET SESSION AUTHORIZATION; RESET ROLE;\n"


def begin_afresh(connection: Connection, job: Job) -> bytes:
    """Give what makes a post-condition mean the same, whatever its file did to the session."""
    lock_timeout_ms = lock_timeout_of(job.migration, job.settings)
    return _AS_OURSELVES + b"RESET ALL;\n" + pins(connection, lock_timeout_ms=lock_timeout_ms)
