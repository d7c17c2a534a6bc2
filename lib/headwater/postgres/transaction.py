"""A transactional file: sent whole, as one message, with its record inside the transaction.

    BEGIN; SAVEPOINT random; FILE; RELEASE random; record        COMMIT

The grammar has refused every statement that could end the transaction. Behind it stand three
guards, judged before COMMIT is sent: the savepoint, whose name no file can know; that the
transaction is deferrable, as only the one that was begun for the file is; and that the server found
as many statements as the parser did. (The transaction's number would tell it from another one, too,
but asking for it assigns it, and a file that makes a replication slot must not have one.)
With a post-condition the first message ends before the record, and the client judges it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from headwater.errors import HeadwaterError, LockBusy, MigrationFailed, TargetError
from headwater.model import Migration, MigrationResult, Said
from headwater.postgres.commit import (
    NotCommitted,
    Pending,
    commit,
    require_committed,
    says_committed,
)
from headwater.postgres.connect import Connection
from headwater.postgres.job import Deferred, Job, Sessions, begin_afresh, lock_timeout_of
from headwater.postgres.lock import sessions_with_locks
from headwater.postgres.patience import NO_LOCK, Patience, patiently
from headwater.postgres.record import NOT_KEPT, Judged, is_replaced, judge
from headwater.postgres.sentences import first_broken
from headwater.postgres.ticking import Tick
from headwater.postgres.translate import Place, advice, facts, place_of_error
from headwater.postgres.wire import Reply, send

if TYPE_CHECKING:
    from headwater.files.accepted import Sentence

# About half a minute of trying, beside the waiting itself.
PATIENCE = Patience(attempts=9, first_pause_s=0.1, longest_pause_s=8.0)

# Deferrable means nothing but for a serializable, read-only transaction. Here it is a mark: another
# transaction would not carry it, and RESET ALL leaves it.
BEGIN = b"BEGIN DEFERRABLE;"


def run_in_transaction(job: Job, session: Sessions, *, alone: bool = False) -> None:
    """Run a file, trying again while its locks are not to be had: it is all or nothing.

    Unless it is to run `alone`, its COMMIT may be left to the message of the next file.
    """
    timeout_ms, name = lock_timeout_of(job.migration, job.settings), job.migration.version
    seen = list[str]()
    patiently(
        lambda: _try_in_transaction(job, session, seen, alone=alone),
        PATIENCE,
        blockers=lambda: "\n".join(seen) or _blockers(session, timeout_ms),
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


def _try_in_transaction(job: Job, session: Sessions, seen: list[str], *, alone: bool) -> None:
    """Run a file once; `seen` takes the sessions that were seen in its way."""
    while True:
        try:
            _run_once(job, session, seen, alone=alone)
        except _TakenBack as taken:
            # Whatever the reason is: run by itself, it will be told, or not come again.
            _run_again(taken.job, session)
        except _NotCleaned:
            session.discard()
        else:
            return


def _run_again(job: Job, session: Sessions) -> None:
    try:
        run_in_transaction(job, session, alone=True)
    except TargetError as error:
        raise MigrationFailed(
            f"{job.migration.version}.sql was rolled back, and could not be run again: "
            f"{error.message}",
            detail=error.detail,
            hint=_earlier(job) + "run the command again when that is mended",
        ) from error


def _run_once(job: Job, session: Sessions, seen: list[str], *, alone: bool) -> None:
    begun = time.monotonic()
    if session.deferred is None or session.connection is None:
        connection = session.for_file(lock_timeout_of(job.migration, job.settings))
    else:
        # As it is: where it is closed by now, that is found out when the message is sent.
        connection = session.connection
    name = savepoint_name()
    message = Message.of_file(
        job,
        ahead=session.deferred.message if session.deferred else b"",
        before=BEGIN + b" SAVEPOINT %s;\n" % name,
        after=b"RELEASE %s;\n" % name,
        settle=lambda reply: _settle(session, reply),
    )
    with session.watch() as watcher:

        def tick(waited_s: float) -> None:
            watcher.tick(waited_s)
            session.look_after_deferred(waited_s)

        try:
            spared = session.residue.spares_history(job.traces)
            ran = run_with_record(connection, job, message, spares_history=spared, tick=tick)
            _require_lock(job, session)
            result = MigrationResult(
                version=job.migration.version,
                duration_ms=round((time.monotonic() - begun) * 1_000),
                statements=ran.statements,
            )
            pending = _pending(job, session, ran.judged)
            cleaning = None if alone else _cleaning_to_defer(job, session)
            if cleaning is not None:
                session.deferred = Deferred(
                    job=job, result=result, pending=pending, cleaning=cleaning
                )
                return
            job.seal_what_stays(connection)
            commit(connection, pending, tick=tick)
        except (ConnectionLost, NotCommitted) as failure:
            connection.close()
            raise _lost(job, failure.error) from failure.error
        except NO_LOCK:
            seen[:] = watcher.blockers
            roll_back(connection)
            raise
        except psycopg.Error as error:
            roll_back(connection)
            raise failure_behind(job, error) from error
        except BaseException:
            roll_back(connection)
            raise
    session.finish(job, result)
    if job.upcoming:
        session.forget(job)


def _lost(job: Job, error: psycopg.Error) -> MigrationFailed:
    return MigrationFailed(
        f"{job.migration.version}.sql: the connection was lost; the file was not applied",
        detail=str(error).strip(),
        hint="run the same command again",
    )


# --- a COMMIT that travels with the next file -------------------------------------------------


class _TakenBack(Exception):
    """The server refused a message as a whole, and with it the COMMIT that stood in front of it."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.migration.version)
        self.job = job


class _NotCleaned(Exception):
    """What stood between the COMMIT and the file failed: the file was not begun."""


def _cleaning_to_defer(job: Job, session: Sessions) -> bytes | None:
    """Give what cleans the session for the next file; None where COMMIT must come by itself."""
    upcoming = job.upcoming
    if upcoming is None or not upcoming.migration.transactional:
        return None
    if not upcoming.is_small or not _is_read_as_usual(session.connection):
        return None
    if lock_timeout_of(upcoming.migration, upcoming.settings) != session.lock_timeout_ms:
        return None
    return session.cleaning(job)


def _is_read_as_usual(connection: Connection | None) -> bool:
    """Say whether the session reads a text as a fresh one does.

    The server reads all of a message before what cleans the session is run. (It reports both
    settings by itself. A third one, backslash_quote, only refuses: such a message is taken back.)
    """
    if connection is None:
        return False
    status = connection.pgconn.parameter_status
    return (status(b"client_encoding"), status(b"standard_conforming_strings")) == (b"UTF8", b"on")


def _settle(session: Sessions, reply: Reply) -> Reply:
    """Read what has become of the file before from the answer to a message; give the rest of it.

    Raises _TakenBack when it was rolled back by what stands behind its COMMIT in the message (the
    server reads all of that before it begins), or by a lock that was not to be had; MigrationFailed
    when the server refused to commit it, or the connection went and it was rolled back;
    OutcomeUnknown when nobody can say.
    """
    deferred, session.deferred = session.deferred, None
    if deferred is None:
        return reply
    if not says_committed(reply):
        if reply.error is None or _may_be_of_the_message(reply.error):
            raise _TakenBack(deferred.job)
        if not reply.lost:
            raise failure_behind(deferred.job, reply.error) from reply.error
        if session.connection is not None:
            session.connection.close()
        if not deferred.finished:
            try:
                require_committed(deferred.pending, reply.error)
            except NotCommitted as failure:
                raise _lost(deferred.job, failure.error) from failure.error
    session.finish_deferred(deferred)
    ours = _statements_in(deferred.message)
    if reply.error is not None and reply.succeeded < ours and not reply.lost:
        raise _NotCleaned
    return Reply(results=reply.results[ours:], error=reply.error)


def _may_be_of_the_message(error: psycopg.Error) -> bool:
    """Say whether a COMMIT may have failed by no fault of its file.

    What the server does not understand of a text it places in that, but for bytes that are no text;
    COMMIT itself has no places.
    """
    no_text = isinstance(error, psycopg.errors.CharacterNotInRepertoire)
    return bool(error.diag.statement_position) or no_text or isinstance(error, NO_LOCK)


# --- one file ---------------------------------------------------------------------------------


def _require_lock(job: Job, session: Sessions) -> None:
    if not session.lock_is_held():
        raise LockBusy(
            f"{job.migration.version}.sql: the lock was lost while it ran; "
            "another runner may have begun",
            detail="the file was rolled back",
            hint="run the same command again: it goes on where this one stopped",
        )


def _pending(job: Job, session: Sessions, judged: Judged) -> Pending:
    return Pending(
        what=f"{job.migration.version}.sql",
        transaction=judged.transaction,
        target=session.target,
        is_there=job.is_recorded,
        notify=job.notify,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A file that ran and is recorded, in a transaction that is still open."""

    statements: int
    judged: Judged


def run_with_record(  # noqa: PLR0913 - each is named by its caller
    connection: Connection,
    job: Job,
    message: Message,
    *,
    then: bytes = b"",
    spares_history: bool = False,
    tick: Tick | None = None,
) -> Ran:
    """Send a file and its record, then `then`.

    In between its post-condition is asked, and what the record needs to know of the schema.

    `spares_history` says that neither the file nor what it runs can have changed that table.
    Raises unless the file may be committed: every guard has been asked.
    """
    if not job.file.sentences and not job.is_sealed:
        record = job.usual_record if spares_history else job.record()
        return message.send(connection, then=record, last=then, tick=tick)
    begun = time.monotonic()
    afresh = begin_afresh(connection, job) if job.file.sentences else b""
    statements = message.send_file(connection, then=afresh, tick=tick)
    require_sentences(connection, job.file.sentences, job.migration)
    elapsed = b"%d" % round((time.monotonic() - begun) * 1_000)
    record = job.sealed_record(connection, elapsed, spares_history=spares_history)
    reply = send(connection, record + then, tick=tick)
    message.require_success(reply, offset=0)
    return Ran(statements=statements, judged=message.judged(connection, reply, last=then))


def savepoint_name() -> bytes:
    """Give a name that no file can know."""
    return b"headwater_" + secrets.token_hex(8).encode()


def roll_back(connection: Connection) -> None:
    """End the transaction that failed; an error of ours must not hide the first one."""
    if not connection.closed:
        send(connection, b"ROLLBACK")


def _statements_in(ours: bytes) -> int:
    """Count the statements of a text of our own: a semicolon ends each, and none holds one."""
    return ours.count(b";")


class ConnectionLost(Exception):
    """The connection went before COMMIT was sent: the file was not applied."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A file between what begins its transaction and what ends it, as one message."""

    job: Job
    ahead: bytes
    before: bytes
    after: bytes
    settle: Callable[[Reply], Reply]
    statements_before: int

    @classmethod
    def of_file(
        cls,
        job: Job,
        *,
        before: bytes,
        after: bytes,
        ahead: bytes = b"",
        settle: Callable[[Reply], Reply] = lambda reply: reply,
    ) -> Message:
        """Put a file between two texts of whole statements.

        What stands `ahead` of all that is not this file's: `settle` takes its results away.
        """
        return cls(
            job=job,
            ahead=ahead,
            before=before,
            after=after,
            settle=settle,
            statements_before=before.count(b";"),
        )

    def send(self, connection: Connection, *, then: bytes, last: bytes, tick: Tick | None) -> Ran:
        """Send it, its record `then` and `last` behind it, and judge what the server did."""
        reply = self._sent(connection, then + last, tick)
        return Ran(
            statements=self._counted(reply, then + last),
            judged=self.judged(connection, reply, last=last),
        )

    def send_file(self, connection: Connection, *, then: bytes, tick: Tick | None) -> int:
        """Send it, and `then` behind it; give the number of statements of the file."""
        return self._counted(self._sent(connection, then, tick), then)

    def _sent(self, connection: Connection, then: bytes, tick: Tick | None) -> Reply:
        # A line of its own: the file may end in a comment, and without a semicolon.
        text = self.job.migration.text.encode() + b"\n;\n"
        message = self.ahead + self.before + text + self.after + then
        reply = send(connection, message, meanwhile=self.job.prepare_upcoming, tick=tick)
        reply = self.settle(reply)
        self.require_success(reply, offset=len(self.ahead + self.before))
        return reply

    def _counted(self, reply: Reply, then: bytes) -> int:
        """Give the number of the file's statements; raise when the parser found another one.

        (A file that is known by its checksum was counted when it ran first.)
        """
        count = reply.succeeded - self.statements_before - _statements_in(self.after + then)
        expected = self.job.file.statements
        if expected is not None and count != expected:
            raise MigrationFailed(
                f"{self.job.migration.version}.sql: the server ran {count} statements, "
                f"and the file holds {expected}",
                hint="it was rolled back; please report the file as a bug of Headwater",
            )
        return count

    def judged(self, connection: Connection, reply: Reply, *, last: bytes) -> Judged:
        """Read what the server says of the record; raise unless it may be committed."""
        judged = judge(
            connection,
            self.job.settings,
            self.job.recorded,
            reply,
            index=-1 - _statements_in(last),
            removed=bool(self.job.migration.undoes),
        )
        name = f"{self.job.migration.version}.sql"
        if not judged.same_transaction:
            raise _transaction_gone(name)
        if not judged.kept:
            raise self._not_kept()
        return judged

    def _places(self, error: psycopg.Error, offset: int) -> bool:
        """Say whether the place of an error is inside the file."""
        position = int(error.diag.statement_position or 0) - 1
        return offset <= position < offset + len(self.job.migration.text)

    def _not_kept(self) -> MigrationFailed:
        return MigrationFailed(
            f"{self.job.migration.version}.sql: {NOT_KEPT}; a rule, a trigger or the file took it "
            "away",
            hint=_after_failure(self.job),
        )

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
        if offset and index < 0 and self._places(reply.error, offset):
            index = 0  # the server does not understand the text, and has begun nothing
        if index >= len(script.statements) and is_replaced(reply.error):
            raise self._not_kept()
        if not 0 <= index < len(script.statements):
            raise failure_behind(self.job, reply.error)
        name = f"{self.job.migration.version}.sql"
        place = place_of_error(reply.error, script, name, index=index, offset=offset)
        raise failed(reply.error, place, self.job)


# What RELEASE says when the savepoint is not there: another transaction, or none at all.
_TRANSACTION_GONE = (
    psycopg.errors.InvalidSavepointSpecification,
    psycopg.errors.NoActiveSqlTransaction,
)


def failure_behind(job: Job, error: psycopg.Error) -> HeadwaterError:
    """Tell of a failure that no single statement of the file caused: a guard, or COMMIT."""
    name = f"{job.migration.version}.sql"
    words, *others = facts(error).splitlines()
    if isinstance(error, _TRANSACTION_GONE):
        failure = _transaction_gone(name, detail="\n".join([words, *others]))
    else:
        failure = MigrationFailed(
            f"{name} failed at its end: {words}",
            detail="\n".join(others),
            hint=_after_failure(job, error),
        )
    failure.__cause__ = error
    return failure


def _transaction_gone(name: str, *, detail: str = "") -> MigrationFailed:
    return MigrationFailed(
        f"{name} ended the transaction it ran in, and was not recorded",
        detail=detail,
        hint="what it did before may have stayed: look, undo it, and mend the file",
    )


def failed(error: psycopg.Error, place: Place, job: Job) -> MigrationFailed:
    """Tell of a statement that failed: the place, the line with a caret, PostgreSQL's words."""
    failure = MigrationFailed(
        f"{place}: {error.diag.message_primary or str(error).strip()}",
        detail="\n".join(filter(None, [place.drawn(), *facts(error).splitlines()[1:]])),
        hint=_after_failure(job, error),
    )
    failure.__cause__ = error
    return failure


def _after_failure(job: Job, error: psycopg.Error | None = None) -> str:
    what = (error and advice(error)) or "mend it and run the command again"
    return f"{job.migration.version} was rolled back whole, {_earlier(job)}{what}"


def _earlier(job: Job) -> str:
    stay = "undone" if job.migration.undoes else "applied"
    return f"the {job.done} before it stay {stay}; " if job.done else ""


def not_begun(job: Job, error: TargetError) -> HeadwaterError:
    """Tell of a session that could not be had: nothing was touched is true of a first file only."""
    if not job.done:
        return error
    return MigrationFailed(
        f"{job.migration.version}.sql was not begun: {error.message}",
        detail=error.detail,
        hint=_earlier(job) + "run the command again when that is mended",
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
