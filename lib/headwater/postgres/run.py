"""Running migrations: one transaction a file, the record in it, and the words that are true.

A transactional file goes to the server whole, as one message:

    BEGIN; SAVEPOINT random; FILE; RELEASE random; record; COMMIT

The grammar has refused every statement that could end the transaction; the savepoint is the
second guard: were the transaction another one by then, RELEASE would fail, and no false record is
written. With a post-condition the message ends before the record, the client judges, and record
and COMMIT follow. A no-transaction file is sent statement by statement, with a journal.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from headwater.errors import (
    FilesError,
    HalfDone,
    HeadwaterError,
    LockBusy,
    MigrationFailed,
    OutcomeUnknown,
)
from headwater.model import (
    Finding,
    Finished,
    Migrated,
    Migration,
    MigrationFolder,
    MigrationResult,
    Notify,
    Plan,
    Said,
    Started,
    Target,
    ignore,
)
from headwater.postgres import history
from headwater.postgres.connect import Connection, connect, pin, pin_for_bookkeeping, pins
from headwater.postgres.lock import migration_lock, sessions_with_locks
from headwater.postgres.plan import make_plan, require_no_problems
from headwater.postgres.sentences import first_broken
from headwater.postgres.session import leaves_no_trace, sets_the_session
from headwater.postgres.translate import Place, facts, lost, place_of_error, translated
from headwater.postgres.wire import Reply, send
from headwater.settings import Settings

if TYPE_CHECKING:
    from headwater.files.refusals import Accepted
    from headwater.files.sentences import Sentence

# Nine tries of a file whose lock is not to be had, each after a longer pause: about half a minute
# of trying beside the waiting itself. Never an unlimited last try: behind a waiting ALTER TABLE
# every plain SELECT of the application queues as well.
LOCK_ATTEMPTS = 9
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 8.0

# A lock that was not to be had, or two sessions that wait for each other: the file was rolled back
# whole, and is worth another try.
NO_LOCK = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

SERVER_DURATION = sql.SQL(
    "pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - "
    "pg_catalog.statement_timestamp()) * 1000)::bigint"
)


def plan_for(
    connection: Connection,
    folder: MigrationFolder,
    settings: Settings,
    *,
    to: str = "",
    out_of_order: frozenset[str] = frozenset(),
) -> Plan:
    """Read history and make the plan; only SELECTs."""
    return make_plan(
        folder.migrations,
        history.read_history(connection, settings),
        to=to,
        out_of_order=out_of_order,
        half_done=history.versions_half_done(connection, settings),
    )


def status(target: Target, folder: MigrationFolder, settings: Settings) -> Plan:
    """Say how every version stands. Only SELECTs: it works on a standby and with few rights."""
    with connect(target, purpose="status") as connection:
        return plan_for(connection, folder, settings)


def pending(target: Target, folder: MigrationFolder, settings: Settings) -> tuple[str, ...]:
    """Give the versions that are not applied to the target."""
    return tuple(step.version for step in status(target, folder, settings).steps)


def migrate(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    *,
    to: str = "",
    out_of_order: frozenset[str] = frozenset(),
    dry_run: bool = False,
    locked: bool = False,
    notify: Notify = ignore,
) -> Migrated:
    """Apply every pending migration in order, under the lock.

    In order: connect, read history, plan; when something is pending: lock, read history again,
    check every pending file, run one after the other. Nothing runs when anything is wrong.
    `dry_run` stops before the lock; `locked` says that the caller holds it already. After
    a failure the earlier files stay applied and recorded, and the failed one is as if it had
    never been tried (a no-transaction file: HalfDone says how far it came).
    """
    with connect(target, purpose="migrate") as connection:
        first = plan_for(connection, folder, settings, to=to, out_of_order=out_of_order)
        require_no_problems(first)
        if not first.steps or dry_run:
            accept(first.steps)
            return Migrated(plan=first, dry_run=dry_run)
        with nullcontext() if locked else migration_lock(target, settings, notify):
            plan = plan_for(connection, folder, settings, to=to, out_of_order=out_of_order)
            require_no_problems(plan)
            accepted = accept(plan.steps)
            if accepted and not history.has_history(connection, settings):
                history.create_history(connection, settings)
            return Migrated(
                plan=plan, results=tuple(_run_all(target, plan, accepted, settings, notify))
            )


def accept(migrations: Sequence[Migration]) -> tuple[Accepted, ...]:
    """Check every file before the first one runs. Raises FilesError with all findings.

    The parser is loaded here: a run with nothing to do needs none.
    """
    if not migrations:
        return ()
    from headwater.files.refusals import Accepted, check

    accepted, findings = [], list[Finding]()
    for migration in migrations:
        checked = check(migration)
        if isinstance(checked, Accepted):
            accepted.append(checked)
        else:
            findings += checked
    if findings:
        count = len(findings)
        raise FilesError(
            f"{count} problem{'s' * (count > 1)} in the migrations; nothing was run",
            findings=tuple(findings),
            hint="mend the files, then run the same command again",
        )
    return tuple(accepted)


def lock_timeout_of(migration: Migration, settings: Settings) -> int:
    """Give the lock timeout of a file in ms: its directive's, or the setting."""
    from headwater.settings import milliseconds

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
            pin(self.connection, lock_timeout_ms=lock_timeout_ms)
            self.lock_timeout_ms = lock_timeout_ms
        return self.connection

    def discard(self) -> None:
        """Close the connection: the next file gets another one."""
        self.stack.close()
        self.connection = None


@contextmanager
def sessions(target: Target) -> Iterator[Sessions]:
    """Open connections as they are needed, and close the last one."""
    with ExitStack() as stack:
        yield Sessions(target=target, stack=stack)


def _run_all(
    target: Target,
    plan: Plan,
    accepted: Sequence[Accepted],
    settings: Settings,
    notify: Notify,
) -> Iterator[MigrationResult]:
    newest = max(
        (e.migration.prefix for e in plan.entries if e.migration and e.applied), default=""
    )
    with sessions(target) as session:
        for index, file in enumerate(accepted, start=1):
            migration = file.migration
            notify(Started(version=migration.version, index=index, total=len(accepted)))
            job = Job(
                file=file,
                settings=settings,
                out_of_order=migration.prefix < newest,
                done=index - 1,
                notify=notify,
            )
            run = _run_in_transaction if migration.transactional else _run_without_transaction
            result = run(job, session)
            if not leaves_no_trace(file.script):
                session.discard()
            notify(Finished(result=result))
            yield result


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
            tokens=self.file.script.token_checksum,
            out_of_order=self.out_of_order,
            duration=duration,
        )


# The file may have changed the role and the search_path. With an empty one only pg_catalog is
# searched, and no object of somebody's schema can stand in for a function or an operator.
CLEAR_THE_WAY = b"RESET SESSION AUTHORIZATION; RESET ROLE; SET LOCAL search_path = '';\n"


# --- transactional files ----------------------------------------------------------------------


def _run_in_transaction(job: Job, session: Sessions) -> MigrationResult:
    """Run a file, trying again while its locks are not to be had: it is all or nothing."""
    lock_timeout_ms = lock_timeout_of(job.migration, job.settings)
    pause = _FIRST_PAUSE_S
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        connection = session.for_file(lock_timeout_ms)
        try:
            return _try_in_transaction(job, connection, session.target)
        except NO_LOCK as error:
            session.discard()
            blockers = _blockers(session, lock_timeout_ms)
            if attempt == LOCK_ATTEMPTS:
                raise LockBusy(
                    f"{job.migration.version}.sql: no lock within {lock_timeout_ms} ms, "
                    f"{attempt} times; it was rolled back each time",
                    detail="\n".join(filter(None, [facts(error), blockers])),
                    hint="try again at a quieter time, or end the session that holds the lock",
                ) from error
            reason = "\n".join(filter(None, [error.diag.message_primary, blockers]))
            again = f"attempt {attempt + 1} of {LOCK_ATTEMPTS} in {pause:.1f} s"
            job.notify(Said(message=f"{job.migration.version}: {reason}; {again}"))
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE_S)
    raise AssertionError("unreachable")


def _blockers(session: Sessions, lock_timeout_ms: int) -> str:
    """Name who holds locks now; a failure to ask must not hide why we ask."""
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
        if job.file.sentences:
            message.send(connection, then=begin_afresh(connection, job))
            require_sentences(connection, job.file.sentences, job.migration)
            elapsed = sql.Literal(round((time.monotonic() - begun) * 1_000))
            reply = send(connection, job.record(connection, elapsed) + b"COMMIT")
            message.require_success(reply, offset=0)
        else:
            message.send(connection, then=job.record(connection) + b"COMMIT")
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


def begin_afresh(connection: Connection, job: Job) -> bytes:
    """Give what makes a post-condition mean the same, whatever its file did to the session."""
    lock_timeout_ms = lock_timeout_of(job.migration, job.settings)
    return b"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL;\n" + pins(
        connection, lock_timeout_ms=lock_timeout_ms
    )


def savepoint_name() -> bytes:
    """Give a name that no file can know."""
    return b"headwater_" + secrets.token_hex(8).encode()


def roll_back(connection: Connection) -> None:
    """End the transaction that failed; an error of ours must not hide the first one."""
    if not connection.closed:
        send(connection, b"ROLLBACK")


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

    def send(self, connection: Connection, *, then: bytes = b"") -> None:
        """Send it, and `then` behind it. Raises when anything failed or is not as it must be."""
        # A line of its own: the file may end in a comment, and without a semicolon.
        text = self.job.migration.text.encode() + b"\n;\n"
        reply = send(connection, self.before + text + self.after + then)
        self.require_success(reply, offset=len(self.before))

    def require_success(self, reply: Reply, *, offset: int) -> None:
        """Raise what a reply means: ConnectionLost, a lock that was not to be had, a failure."""
        if reply.error is None:
            return
        if reply.lost:
            raise ConnectionLost(reply.error)
        if isinstance(reply.error, NO_LOCK):
            raise reply.error
        raise self._failure(reply, offset)

    def _failure(self, reply: Reply, offset: int) -> HeadwaterError:
        assert reply.error is not None
        script, migration = self.job.file.script, self.job.migration
        index = reply.succeeded - self.statements_before if offset else len(script.statements)
        if index >= len(script.statements):
            return self._failure_behind(reply.error)
        place = place_of_error(
            reply.error, script, f"{migration.version}.sql", index=index, offset=offset
        )
        return failed(reply.error, place, self.job)

    def _failure_behind(self, error: psycopg.Error) -> HeadwaterError:
        """Tell of a failure that no single statement of the file caused: a guard, or COMMIT."""
        name = f"{self.job.migration.version}.sql"
        words, *others = facts(error).splitlines()
        message, hint = f"{name} failed at its end: {words}", _after_failure(self.job)
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
            with connect(target, purpose="migrate") as another:
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


# --- no-transaction files ---------------------------------------------------------------------


def _run_without_transaction(job: Job, session: Sessions) -> MigrationResult:
    """Run a file statement by statement, going on behind those that the journal calls done.

    The unit of safety is the statement: the journal says 'started' before and 'done' after each.
    A statement that fails leaves the earlier ones done, and raises HalfDone.
    """
    begun = time.monotonic()
    migration, script = job.migration, job.file.script
    connection = session.for_file(lock_timeout_of(migration, job.settings))
    with connect(session.target, purpose="journal") as journal:
        with translated("reading the journal"):
            pin_for_bookkeeping(journal, lock_timeout_ms=job.settings.lock_timeout_ms)
        journaled = history.read_steps(journal, job.settings, migration.version)
        _require_all_there(job, journaled)
        for step, statement in enumerate(script.statements, start=1):
            tokens = token_checksum(statement.text)
            # What a SET does is gone with the session that ran it: it is for those that follow.
            if _is_done(job, journaled.get(step), step, tokens) and not sets_the_session(statement):
                continue
            history.write_step(journal, job.settings, migration.version, step, tokens, "started")
            reply = send(connection, statement.text.encode())
            if reply.error is not None:
                if not reply.lost:
                    history.delete_step(journal, job.settings, migration.version, step)
                raise _stopped(job, reply, step)
            history.write_step(journal, job.settings, migration.version, step, tokens, "done")
    session.discard()
    elapsed = round((time.monotonic() - begun) * 1_000)
    _record_without_transaction(job, session, elapsed)
    return MigrationResult(
        version=migration.version, duration_ms=elapsed, statements=len(script.statements)
    )


def _record_without_transaction(job: Job, session: Sessions, elapsed: int) -> None:
    """Ask the post-condition, then record the file and end its journal, on a fresh session.

    After a failure here every statement of the file is done, and the journal says so: the same
    command asks again, and records.
    """
    migration, total = job.migration, len(job.file.script.statements)
    done = f"statements done: {total} of {total}; the file is not recorded"
    connection = session.for_file(lock_timeout_of(migration, job.settings))
    broken = first_broken(connection, job.file.sentences)
    if broken is not None:
        raise HalfDone(
            f"{broken.file}:{broken.line}: {broken.message}",
            detail=f"{broken.source}\n{done}",
            hint="make it true, or mend the post-condition; the same command asks again",
        )
    record = job.record(connection, sql.Literal(elapsed))
    record += history.forget_steps(connection, job.settings, migration.version)
    reply = send(connection, b"BEGIN;" + record + b"COMMIT")
    if reply.error is not None:
        raise HalfDone(
            f"{migration.version}.sql: recording it failed",
            detail=f"{facts(reply.error)}\n{done}",
            hint="run the same command again: it only records",
        ) from reply.error


def token_checksum(text: str) -> str:
    """Give the checksum of a single statement's tokens."""
    from headwater.files.grammar import parse

    return parse(text).token_checksum


def _require_all_there(job: Job, journaled: dict[int, tuple[str, str]]) -> None:
    """Refuse a file that has fewer statements than the journal says have run."""
    total = len(job.file.script.statements)
    if journaled and max(journaled) > total:
        raise FilesError(
            f"{job.migration.version}.sql: statement {max(journaled)} was removed after it had run",
            hint="restore the statements that ran; those behind them may be mended",
        )


def _is_done(job: Job, journaled: tuple[str, str] | None, step: int, tokens: str) -> bool:
    """Say whether the journal calls a statement done; refuse when it was edited since."""
    if journaled is None:
        return False
    version = job.migration.version
    known_tokens, state = journaled
    if known_tokens != tokens:
        raise FilesError(
            f"{version}.sql: statement {step} was edited after it had run",
            hint="restore the statements that ran; those behind them may be mended",
        )
    if state == "started":
        raise OutcomeUnknown(
            f"{version}.sql: statement {step} was started, and nobody knows whether it ended",
            hint="look whether its effect is there; then delete its row from the journal "
            f"{job.settings.history}_steps (to run it again) or set its state to 'done'",
        )
    return True


def _stopped(job: Job, reply: Reply, step: int) -> HeadwaterError:
    """Tell where a no-transaction file stands after a statement failed or the connection went."""
    assert reply.error is not None
    migration, script = job.migration, job.file.script
    statement = script.statements[step - 1]
    place = place_of_error(
        reply.error, script, f"{migration.version}.sql", index=step - 1, offset=-statement.start
    )
    total = len(script.statements)
    standing = f"statements done: {step - 1} of {total}; failed: {step}; not tried: {total - step}"
    kind: type[HeadwaterError] = OutcomeUnknown if reply.lost else HalfDone
    failure = kind(
        f"{place}: {reply.error.diag.message_primary or str(reply.error).strip()}",
        detail="\n".join(
            filter(None, [place.drawn(), *facts(reply.error).splitlines()[1:], standing])
        ),
        hint="mend the cause or the rest of the file, and run the same command: it goes on there",
    )
    failure.__cause__ = reply.error
    return failure
