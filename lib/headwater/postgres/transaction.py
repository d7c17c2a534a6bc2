"""A transactional file: sent whole, as one message, with its record inside the transaction.

    BEGIN; SAVEPOINT random; FILE; RELEASE random; record; COMMIT

The grammar has refused every statement that could end the transaction; the savepoint is the
second guard: were the transaction another one by then, RELEASE would fail, and no false record is
written. With a post-condition the message ends before the record, the client judges, and record
and COMMIT follow.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from headwater.errors import HeadwaterError, LockBusy, MigrationFailed
from headwater.model import Migration, MigrationResult, Said, Target
from headwater.postgres import history
from headwater.postgres.connect import Connection, connect
from headwater.postgres.job import (
    Job,
    Sessions,
    begin_afresh,
    lock_timeout_of,
)
from headwater.postgres.lock import sessions_with_locks
from headwater.postgres.patience import NO_LOCK, Patience, patiently
from headwater.postgres.sentences import first_broken
from headwater.postgres.translate import Place, facts, lost, place_of_error, translated
from headwater.postgres.wire import Reply, send

if TYPE_CHECKING:
    from headwater.files.sentences import Sentence

# About half a minute of trying, beside the waiting itself.
PATIENCE = Patience(attempts=9, first_pause_s=0.1, longest_pause_s=8.0)


def run_in_transaction(job: Job, session: Sessions) -> MigrationResult:
    """Run a file, trying again while its locks are not to be had: it is all or nothing."""
    timeout_ms, name = lock_timeout_of(job.migration, job.settings), job.migration.version
    return patiently(
        lambda: _try_in_transaction(job, session.for_file(timeout_ms), session.target),
        PATIENCE,
        blockers=lambda: _blockers(session, timeout_ms),
        tell=lambda said: job.notify(Said(message=f"{name}: {said}")),
        give_up=lambda attempts: LockBusy(
            f"{name}.sql: no lock within {timeout_ms} ms, {attempts} times; "
            "it was rolled back each time",
            hint="try again at a quieter time, or end the session that holds the lock",
        ),
    )


def _blockers(session: Sessions, lock_timeout_ms: int) -> str:
    """Name who holds locks now, from a fresh session; a failure must not hide why we ask."""
    session.discard()
    try:
        return sessions_with_locks(session.for_file(lock_timeout_ms))
    except (psycopg.Error, HeadwaterError):
        return ""


def _try_in_transaction(job: Job, connection: Connection, target: Target) -> MigrationResult:
    begun = time.monotonic()
    backend = connection.info.backend_pid
    name = savepoint_name()
    message = Message.of_file(
        job, before=b"BEGIN; SAVEPOINT %s;\n" % name, after=b"RELEASE %s;\n" % name
    )
    try:
        run_with_record(connection, job, message, then=b"COMMIT")
    except ConnectionLost as failure:
        connection.close()
        _ask_for_outcome(job, backend, target, failure)
    except BaseException:
        roll_back(connection)
        raise
    return MigrationResult(
        version=job.migration.version,
        duration_ms=round((time.monotonic() - begun) * 1_000),
        statements=len(job.file.script.statements),
    )


def run_with_record(connection: Connection, job: Job, message: Message, *, then: bytes) -> int:
    """Send a file and its record, then `then`; with a post-condition, ask it in between.

    Gives the number of statements that the server found in the file.
    """
    if not job.file.sentences:
        return message.send(connection, then=job.record(connection) + then)
    begun = time.monotonic()
    statements = message.send(connection, then=begin_afresh(connection, job))
    require_sentences(connection, job.file.sentences, job.migration)
    elapsed = sql.Literal(round((time.monotonic() - begun) * 1_000))
    reply = send(connection, job.record(connection, elapsed) + then)
    message.require_success(reply, offset=0)
    return statements


def savepoint_name() -> bytes:
    """Give a name that no file can know."""
    return b"headwater_" + secrets.token_hex(8).encode()


def roll_back(connection: Connection) -> None:
    """End the transaction that failed; an error of ours must not hide the first one."""
    if not connection.closed:
        send(connection, b"ROLLBACK")


def _statements_in(ours: bytes) -> int:
    """Count the statements of a text of our own: none of them holds a semicolon inside."""
    return len([part for part in ours.split(b";") if part.strip()])


class ConnectionLost(Exception):
    """The connection went while a file ran; whether it was applied must be asked."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A file between what goes before and behind it, and the way from an error to its place."""

    job: Job
    before: bytes
    after: bytes
    statements_before: int

    @classmethod
    def of_file(cls, job: Job, *, before: bytes, after: bytes) -> Message:
        """Put a file between two texts of whole statements."""
        return cls(job=job, before=before, after=after, statements_before=before.count(b";"))

    def send(self, connection: Connection, *, then: bytes = b"") -> int:
        """Send it, and `then` behind it; give the number of statements of the file.

        Raises when anything failed or is not as it must be.
        """
        # A line of its own: the file may end in a comment, and without a semicolon.
        text = self.job.migration.text.encode() + b"\n;\n"
        reply = send(connection, self.before + text + self.after + then)
        self.require_success(reply, offset=len(self.before))
        return reply.succeeded - self.statements_before - _statements_in(self.after + then)

    def require_success(self, reply: Reply, *, offset: int) -> None:
        """Raise what a reply means: ConnectionLost, a lock that was not to be had, a failure."""
        if reply.error is None:
            return
        if reply.lost:
            raise ConnectionLost(reply.error)
        if isinstance(reply.error, NO_LOCK):
            raise reply.error
        script = self.job.file.script
        index = reply.succeeded - self.statements_before if offset else len(script.statements)
        if index >= len(script.statements):
            raise self._failure_behind(reply.error)
        name = f"{self.job.migration.version}.sql"
        place = place_of_error(reply.error, script, name, index=index, offset=offset)
        raise failed(reply.error, place, self.job)

    def _failure_behind(self, error: psycopg.Error) -> HeadwaterError:
        """Tell of a failure that no single statement of the file caused: a guard, or COMMIT."""
        name = f"{self.job.migration.version}.sql"
        words, *others = facts(error).splitlines()
        message, hint = f"{name} failed at its end: {words}", _after_failure(self.job)
        if history.NOT_KEPT in words:
            message = f"{name}: {history.NOT_KEPT}; a rule, a trigger or the file took it away"
            others = []
        if isinstance(error, _TRANSACTION_GONE):
            message = f"{name} ended the transaction it ran in, and was not recorded"
            hint = "what it did before may have stayed: look, undo it, and mend the file"
            others = [words, *others]
        failure = MigrationFailed(message, detail="\n".join(others), hint=hint)
        failure.__cause__ = error
        return failure


# What RELEASE says when the savepoint is not there: another transaction, or none at all.
_TRANSACTION_GONE = (
    psycopg.errors.InvalidSavepointSpecification,
    psycopg.errors.NoActiveSqlTransaction,
)


def failed(error: psycopg.Error, place: Place, job: Job) -> MigrationFailed:
    """Tell of a statement that failed: the place, the line with a caret, PostgreSQL's words."""
    failure = MigrationFailed(
        f"{place}: {error.diag.message_primary or str(error).strip()}",
        detail="\n".join(filter(None, [place.drawn(), *facts(error).splitlines()[1:]])),
        hint=_after_failure(job),
    )
    failure.__cause__ = error
    return failure


def _after_failure(job: Job) -> str:
    earlier = f"the {job.done} before it stay applied; " if job.done else ""
    return (
        f"{job.migration.version} was rolled back whole, {earlier}mend it and run the command again"
    )


def require_sentences(
    connection: Connection, sentences: Sequence[Sentence], migration: Migration
) -> None:
    """Raise MigrationFailed when a post-condition does not hold."""
    broken = first_broken(connection, sentences)
    if broken is not None:
        raise MigrationFailed(
            f"{broken.file}:{broken.line}: {broken.message}",
            detail=broken.source,
            hint=f"{migration.version} was rolled back whole",
        )


def _ask_for_outcome(job: Job, backend: int, target: Target, failure: ConnectionLost) -> None:
    """After a lost connection ask the server: return when the file is applied, raise when not.

    The old backend may still be working: only a record that is missing after the backend was seen
    to be gone means that the file was rolled back. So the backend is asked about first.
    """
    version = job.migration.version
    job.notify(Said(message=f"{version}: the connection was lost; asking the server what it did"))
    for pause in (0.0, 0.2, 0.5, 1.0, 2.0, 4.0):
        time.sleep(pause)
        try:
            with connect(target, purpose="migrate") as another, translated("asking the server"):
                gone = not _is_working(another, backend)
                if any(
                    row.version == version for row in history.read_history(another, job.settings)
                ):
                    return
                if gone:
                    raise MigrationFailed(
                        f"{version}.sql: the connection was lost; the file was not applied",
                        detail=str(failure.error).strip(),
                        hint="run the same command again",
                    ) from failure.error
        except MigrationFailed:
            raise
        except HeadwaterError:
            continue
    raise lost(f"{version}.sql", failure.error) from failure.error


def _is_working(connection: Connection, backend: int) -> bool:
    found = connection.execute("SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %s", (backend,))
    return found.rowcount > 0
