"""A no-transaction file: sent statement by statement, with a journal of how far it has come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from headwater.errors import FilesError, HalfDone, HeadwaterError, OutcomeUnknown, TargetError
from headwater.model import MigrationResult
from headwater.postgres import history
from headwater.postgres.connect import Connection, connect, pin_for_bookkeeping
from headwater.postgres.job import Job, Sessions, lock_timeout_of
from headwater.postgres.sentences import first_broken
from headwater.postgres.session import sets_the_session
from headwater.postgres.translate import facts, place_of_error, translated
from headwater.postgres.wire import send
from headwater.settings import Settings

if TYPE_CHECKING:
    from headwater.files.accepted import Accepted
    from headwater.files.grammar import Statement


def run_without_transaction(job: Job, session: Sessions) -> MigrationResult:
    """Run a file statement by statement, going on behind those that the journal calls done.

    `require_resumable` has looked at the journal before.

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
        for step, statement in enumerate(script.statements, start=1):
            # What a SET does is gone with the session that ran it: it is for those that follow.
            if step in journaled and not sets_the_session(statement):
                continue
            if not session.lock_is_held():
                raise _interrupted(job, step, "the connection that held the lock was lost")
            try:
                _run_step(job, journal, connection, step, statement)
            except TargetError as error:
                raise _interrupted(job, step, error.message) from error
    session.discard()
    elapsed = round((time.monotonic() - begun) * 1_000)
    _record_without_transaction(job, session, elapsed)
    return MigrationResult(
        version=migration.version, duration_ms=elapsed, statements=len(script.statements)
    )


def _run_step(
    job: Job, journal: Connection, connection: Connection, step: int, statement: Statement
) -> None:
    """Run one statement between its two lines in the journal."""
    settings, version = job.settings, job.migration.version
    tokens = token_checksum(statement.text)
    history.write_step(journal, settings, version, step, tokens, "started")
    reply = send(connection, statement.text.encode())
    if reply.error is None:
        history.write_step(journal, settings, version, step, tokens, "done")
        return
    # A block may commit and then fail: what it did is not known, and the journal must say so.
    if not reply.lost and statement.kind not in ("do_stmt", "call_stmt"):
        history.delete_step(journal, settings, version, step)
    raise _stopped(job, reply.error, step, lost=reply.lost)


def _interrupted(job: Job, step: int, why: str) -> HalfDone:
    """Tell of a file that cannot go on although no statement of it failed."""
    total = len(job.file.script.statements)
    return HalfDone(
        f"{job.migration.version}.sql: {why}",
        detail=f"statements done: at least {step - 1} of {total}",
        hint="run the same command again: the journal says where it goes on",
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


def require_resumable(
    connection: Connection, settings: Settings, accepted: Sequence[Accepted]
) -> None:
    """Raise before anything runs when a file cannot go on where its journal says it stopped.

    FilesError when what already ran was edited or removed, OutcomeUnknown when the end of a
    statement was never seen.
    """
    for file in accepted:
        if not file.migration.transactional:
            _compare(
                file, history.read_steps(connection, settings, file.migration.version), settings
            )


def _compare(file: Accepted, journaled: dict[int, tuple[str, str]], settings: Settings) -> None:
    version, statements = file.migration.version, file.script.statements
    for step, (tokens, state) in sorted(journaled.items()):
        if step > len(statements) or token_checksum(statements[step - 1].text) != tokens:
            changed = "removed" if step > len(statements) else "edited"
            raise FilesError(
                f"{version}.sql: statement {step} was {changed} after it had run",
                hint="restore the statements that ran; those behind them may be mended",
            )
        if state == "started":
            raise OutcomeUnknown(
                f"{version}.sql: statement {step} was started, and nobody knows whether it ended",
                hint="look whether its effect is there; then delete its row from the journal "
                f"{settings.history}_steps (to run it again) or set its state to 'done'",
            )


def _stopped(job: Job, error: psycopg.Error, step: int, *, lost: bool) -> HeadwaterError:
    """Tell where a no-transaction file stands after a statement failed or the connection went."""
    migration, script = job.migration, job.file.script
    statement = script.statements[step - 1]
    place = place_of_error(
        error, script, f"{migration.version}.sql", index=step - 1, offset=-statement.start
    )
    total = len(script.statements)
    standing = f"statements done: {step - 1} of {total}; failed: {step}; not tried: {total - step}"
    kind: type[HeadwaterError] = OutcomeUnknown if lost else HalfDone
    failure = kind(
        f"{place}: {error.diag.message_primary or str(error).strip()}",
        detail="\n".join(filter(None, [place.drawn(), *facts(error).splitlines()[1:], standing])),
        hint="mend the cause or the rest of the file, and run the same command: it goes on there",
    )
    failure.__cause__ = error
    return failure
