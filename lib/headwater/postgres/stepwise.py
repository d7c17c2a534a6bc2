"""A no-transaction file: sent statement by statement, with a journal of how far it has come.

The unit of safety is the statement. One that can run in a transaction runs in one, together with
its line in the journal, so that it is done and noted, or neither. For any other the journal says
'started', with what there was before it; then it runs; then the journal says 'done'. After a fault
between the two the catalogue decides what has become of it (`effects.py`), and the left-over of a
failed CONCURRENTLY is dropped. What the catalogue cannot tell is said to be unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import psycopg
from psycopg import sql

from headwater.errors import (
    FilesError,
    HalfDone,
    HeadwaterError,
    LockBusy,
    MigrationFailed,
    OutcomeUnknown,
    TargetError,
)
from headwater.files.grammar import token_checksum
from headwater.model import MigrationResult, Said
from headwater.postgres import history, journal
from headwater.postgres.commit import NotCommitted, Pending, commit
from headwater.postgres.concurrently import Attended, is_concurrent, runs_in_transaction
from headwater.postgres.connect import Connection, connect, only_catalog_names, pin_for_bookkeeping
from headwater.postgres.effects import Effect, Found, find_effect, note_before
from headwater.postgres.job import Job, Sessions, lock_timeout_of
from headwater.postgres.journal import Step
from headwater.postgres.lock import sessions_with_locks
from headwater.postgres.patience import NO_LOCK, patiently
from headwater.postgres.record import NOT_KEPT, Judged, judge, judging
from headwater.postgres.sentences import first_broken
from headwater.postgres.session import sets_the_session
from headwater.postgres.transaction import BEGIN, PATIENCE, roll_back, savepoint_name
from headwater.postgres.translate import facts, place_of_error, translated
from headwater.postgres.wire import Reply, send
from headwater.settings import Settings

if TYPE_CHECKING:
    from headwater.files.accepted import Accepted
    from headwater.files.grammar import Statement


def run_without_transaction(job: Job, session: Sessions) -> MigrationResult:
    """Run a file statement by statement, going on behind those that the journal calls done.

    `require_resumable` has looked at the journal before. A statement that fails leaves the earlier
    ones done, and raises HalfDone (MigrationFailed, when it is the first and nothing is left of
    it); one of which nobody knows whether it ended raises OutcomeUnknown.
    """
    begun = time.monotonic()
    migration, script = job.migration, job.file.script
    connection = session.for_file(lock_timeout_of(migration, job.settings))
    with connect(session.target, purpose="journal", impatient=True) as book:
        with translated("reading the journal"):
            pin_for_bookkeeping(book, lock_timeout_ms=job.settings.lock_timeout_ms)
        journal.complete_journal(book, job.settings)
        steps = journal.read_steps(book, job.settings, migration.version)
        run = _Run(job=job, session=session, connection=connection, book=book)
        for number, statement in enumerate(script.statements, start=1):
            run.go_on(number, statement, steps.get(number))
    session.discard()
    elapsed = round((time.monotonic() - begun) * 1_000)
    try:
        _record(job, session, elapsed)
    except TargetError as error:
        raise _not_recorded(job, error.message, error.detail) from error
    return MigrationResult(
        version=migration.version, duration_ms=elapsed, statements=len(script.statements)
    )


# --- one statement after the other ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run through one file: its session, and the connection that writes the journal."""

    job: Job
    session: Sessions
    connection: Connection
    book: Connection

    @property
    def version(self) -> str:
        return self.job.migration.version

    def go_on(self, number: int, statement: Statement, step: Step | None) -> None:
        """Run one statement, unless it is done already."""
        # What a SET does is gone with the session that ran it: it is for those that follow.
        if step and step.state == journal.DONE and not sets_the_session(statement):
            return
        if not self.session.lock_is_held():
            raise self._interrupted(number, "the connection that held the lock was lost")
        try:
            with translated(f"looking after statement {number}"):
                if step and step.state == journal.STARTED and self._settle(number, statement, step):
                    return
                inside = runs_in_transaction(statement)
                self._patiently(number, statement, self._inside if inside else self._outside)
        except TargetError as error:
            raise self._interrupted(number, error.message) from error

    def _patiently(
        self, number: int, statement: Statement, run: Callable[[int, Statement], None]
    ) -> None:
        """Run a statement, and again while a lock is not to be had: nothing of it is left then."""
        timeout_ms = lock_timeout_of(self.job.migration, self.job.settings)
        name = f"{self.version}.sql, statement {number}"
        busy = f"{name}: no lock within {timeout_ms} ms, {{}} times"
        try:
            patiently(
                lambda: run(number, statement),
                PATIENCE,
                blockers=self._blockers,
                tell=lambda said: self.job.notify(Said(message=f"{name}: {said}")),
                give_up=lambda attempts: LockBusy(
                    busy.format(attempts),
                    hint="try again at a quieter time, or end the session that holds the lock",
                ),
            )
        except LockBusy as error:
            if number == 1:
                raise
            detail = "\n".join([error.detail, self._standing(number)])
            raise HalfDone(error.message, detail=detail, hint=_GO_ON) from error

    def _blockers(self) -> str:
        try:
            return sessions_with_locks(self.book)
        except (psycopg.Error, HeadwaterError):
            return ""

    # --- in a transaction with its line in the journal ----------------------------------------

    def _inside(self, number: int, statement: Statement) -> None:
        """Run a statement and note it as done, in one transaction."""
        step = Step(tokens=token_checksum(statement.text), state=journal.DONE)
        name = savepoint_name()
        before = BEGIN + b" SAVEPOINT %s;\n" % name
        after = b"\n;RELEASE %s;\n" % name + _AS_OURSELVES_WITHIN
        after += journal.writing(self.connection, self.job.settings, self.version, number, step)
        after += judging(self._is_noted(number))
        with self.session.watch() as watcher:
            try:
                message = before + statement.text.encode() + after
                reply = send(self.connection, message, tick=watcher.tick)
                self._require(number, statement, reply, offset=len(before))
                pending = self._pending(number, Judged.of(reply.row(-1)))
                commit(self.connection, pending, tick=watcher.tick)
            except NotCommitted as failure:
                raise self._stopped(number, statement, failure.error) from failure
            except NO_LOCK:
                roll_back(self.connection)
                raise
            except psycopg.Error as error:
                roll_back(self.connection)
                raise self._stopped(number, statement, error) from error
            except BaseException:
                roll_back(self.connection)
                raise

    def _require(self, number: int, statement: Statement, reply: Reply, *, offset: int) -> None:
        """Raise unless a statement ran in its transaction, and may be committed."""
        if isinstance(reply.error, NO_LOCK):
            raise reply.error
        if reply.error is not None:
            if reply.lost:
                self.connection.close()
            raise self._stopped(number, statement, reply.error, offset=offset)
        judged = Judged.of(reply.row(-1))
        expected = _STATEMENTS_AROUND + 1
        if reply.succeeded != expected or not judged.same_transaction or not judged.kept:
            raise self._interrupted(number, f"statement {number} did not run in its transaction")
        if not self.session.lock_is_held():
            raise self._interrupted(number, "the lock was lost")

    def _is_noted(self, number: int) -> bytes:
        return (
            sql.SQL(
                "(SELECT count(*) FROM {} WHERE version = {} AND step = {} AND state = 'done') = 1"
            )
            .format(
                history.table(self.job.settings, "_steps"),
                sql.Literal(self.version),
                sql.Literal(number),
            )
            .as_bytes(self.connection)
        )

    def _pending(self, number: int, judged: Judged) -> Pending:
        settings, version = self.job.settings, self.version

        def is_there(another: Connection) -> bool:
            step = journal.read_steps(another, settings, version).get(number)
            return step is not None and step.state == journal.DONE

        return Pending(
            what=f"{version}.sql, statement {number}",
            transaction=judged.transaction,
            target=self.session.target,
            is_there=is_there,
            notify=self.job.notify,
        )

    # --- outside of a transaction -------------------------------------------------------------

    def _outside(self, number: int, statement: Statement) -> None:
        """Run a statement between its two lines in the journal."""
        with translated("looking at what the statement will change"):
            before = note_before(self.connection, self.book, statement)
            before = {**before, **self._backend()}
        step = Step(tokens=token_checksum(statement.text), state=journal.STARTED, before=before)
        journal.write_step(self.book, self.job.settings, self.version, number, step)
        attended = Attended(
            name=f"{self.version}.sql, statement {number}",
            session=self.session,
            connection=self.connection,
            concurrent=is_concurrent(statement),
            wait_ms=self.job.settings.wait_concurrently_ms,
            notify=self.job.notify,
        )
        reply = attended.send(statement.text.encode())
        if reply.error is not None:
            self._failed(number, statement, step, reply, attended.gave_up)
        self._require_valid(number, find_effect(self.book, before))
        self._write_done(number, step)

    def _backend(self) -> dict[str, object]:
        """Give what tells the backend of the session from any later one with its number."""
        row = self.book.execute(_BACKEND, (self.session.pid,)).fetchone()
        return {"pid": self.session.pid, "since": row[0] if row else None}

    def _write_done(self, number: int, step: Step) -> None:
        done = Step(tokens=step.tokens, state=journal.DONE, before=step.before)
        journal.write_step(self.book, self.job.settings, self.version, number, done)

    def _require_valid(self, number: int, found: Found) -> None:
        if found.leftovers:
            raise HalfDone(
                f"{self.version}.sql: statement {number} succeeded, and left invalid: "
                + ", ".join(found.leftovers),
                detail=self._standing(number),
                hint=_GO_ON,
            )

    def _failed(
        self, number: int, statement: Statement, step: Step, reply: Reply, gave_up: str
    ) -> NoReturn:
        """Find out what a statement that failed has left, remove that, and raise what to tell.

        In order: when the connection is lost, see to it that its backend is gone; ask the
        catalogue; remove left-overs; forget the statement in the journal, so that it may be mended.
        """
        error = reply.error
        assert error is not None
        if reply.lost:
            self.connection.close()
            self._outlive(number, step)
        found = find_effect(self.book, step.before)
        said = [gave_up] if gave_up else []
        if found.effect is Effect.UNKNOWN:
            # A block that commits and then fails: what it did before stays, and nobody knows what.
            if reply.lost:
                raise self._unknown(number, error)
            ways_out = self._unknown(number)
            stopped = self._stopped(number, statement, error, said=ways_out.detail.splitlines())
            stopped.hint = ways_out.hint
            raise stopped
        if found.effect is Effect.DONE and reply.lost:
            self._mend(number, found)
            self._write_done(number, step)
            raise self._stopped(number, statement, error, done=number, said=["it was done"])
        if found.effect is Effect.NOT_DONE:
            said += self._mend(number, found)
            spoilt = found.leftovers if not found.mending else ()
            if spoilt:
                # It stays 'started': the same command ends what was begun.
                said.append(f"invalid now, until it is run again: {', '.join(spoilt)}")
                raise self._stopped(number, statement, error, said=said, begun=True)
        if found.effect is Effect.NOT_DONE or not found.mending:
            # The server said no. What seems to be done was so before, or by somebody else.
            journal.delete_step(self.book, self.job.settings, self.version, number)
        if found.effect is Effect.NOT_DONE and isinstance(error, NO_LOCK):
            raise error
        raise self._stopped(number, statement, error, said=said)

    def _settle(self, number: int, statement: Statement, step: Step) -> bool:
        """Decide what has become of a statement that an earlier run began; say if it is done."""
        self._outlive(number, step)
        found = find_effect(self.book, step.before)
        if found.effect is Effect.UNKNOWN:
            raise self._unknown(number)
        if found.effect is Effect.DONE and token_checksum(statement.text) != step.tokens:
            raise _edited(self.version, number, "edited")
        for said in self._mend(number, found):
            self.job.notify(Said(message=f"{self.version}.sql, statement {number}: {said}"))
        if found.effect is Effect.DONE:
            self._write_done(number, step)
            return True
        journal.delete_step(self.book, self.job.settings, self.version, number)
        return False

    def _outlive(self, number: int, step: Step) -> None:
        """Wait until the backend that ran a statement is gone; end it, when it stays.

        Nobody listens to it any more: its runner is dead, or has lost it. (The lock is ours.)
        """
        pid, since = (step.before or {}).get("pid"), (step.before or {}).get("since")
        for attempt in range(_OUTLIVE_ATTEMPTS):
            with translated("looking for the process of an earlier run"):
                row = self.book.execute(_BACKEND, (pid,)).fetchone()
                if row is None or row[0] != since:
                    return
                if attempt == _OUTLIVE_ATTEMPTS // 3:
                    self.book.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (pid,))
            time.sleep(_OUTLIVE_PAUSE_S)
        raise self._interrupted(number, f"process {pid} still runs statement {number}")

    def _mend(self, number: int, found: Found) -> list[str]:
        """Run what ends or removes what a statement left; give what was done, in words."""
        session, said = self.session, list[str]()
        for statement in found.mending:
            if self.connection.closed:
                connection = session.for_file(
                    lock_timeout_of(self.job.migration, self.job.settings)
                )
            else:
                connection = self.connection
            attended = Attended(
                name=f"{self.version}.sql, statement {number}",
                session=session,
                connection=connection,
                concurrent=True,
                wait_ms=self.job.settings.wait_concurrently_ms,
                notify=self.job.notify,
            )
            text = statement.as_bytes(connection)
            reply = attended.send(text)
            if reply.error is not None:
                raise HalfDone(
                    f"{self.version}.sql: what statement {number} left could not be removed",
                    detail="\n".join(
                        [
                            *filter(None, [attended.gave_up]),
                            text.decode(),
                            facts(reply.error),
                            self._standing(number),
                        ]
                    ),
                    hint="run the same command again: it removes that first, and goes on",
                ) from reply.error
            said.append(f"ran {text.decode()}")
        return said

    # --- how it ended -------------------------------------------------------------------------

    def _standing(self, number: int, *, done: int | None = None) -> str:
        total = len(self.job.file.script.statements)
        before = number - 1 if done is None else done
        if before == number:
            return f"statements done: {before} of {total}; not tried: {total - number}"
        return (
            f"statements done: {before} of {total}; failed: {number}; not tried: {total - number}"
        )

    def _interrupted(self, number: int, why: str) -> HalfDone:
        """Tell of a file that cannot go on although no statement of it failed."""
        total = len(self.job.file.script.statements)
        return HalfDone(
            f"{self.version}.sql: {why}",
            detail=f"statements done: at least {number - 1} of {total}",
            hint="run the same command again: the journal says where it goes on",
        )

    def _unknown(self, number: int, error: psycopg.Error | None = None) -> OutcomeUnknown:
        return unknown(self.version, number, self.job.settings, error)

    def _stopped(  # noqa: PLR0913 - what is told, each by its name
        self,
        number: int,
        statement: Statement,
        error: psycopg.Error,
        *,
        offset: int = 0,
        done: int | None = None,
        said: Sequence[str] = (),
        begun: bool = False,
    ) -> HeadwaterError:
        """Tell where the file stands after a statement failed; `said` is what was done about it.

        `begun` says that a part of the statement was done, and stays.
        """
        place = place_of_error(
            error,
            self.job.file.script,
            f"{self.version}.sql",
            index=number - 1,
            offset=offset - statement.start,
        )
        standing = self._standing(number, done=done)
        lines = [place.drawn(), *facts(error).splitlines()[1:], *said, standing]
        began = begun or done is not None or statement.kind in _MAY_COMMIT
        nothing_done = number == 1 and not began
        kind: type[HeadwaterError] = MigrationFailed if nothing_done else HalfDone
        failure = kind(
            f"{place}: {error.diag.message_primary or str(error).strip()}",
            detail="\n".join(filter(None, lines)),
            hint=_FROM_THE_START if nothing_done else _GO_ON,
        )
        failure.__cause__ = error
        return failure


# A block that commits and then fails has done something, and nobody knows what.
_MAY_COMMIT = ("do_stmt", "call_stmt")

_GO_ON = "mend the cause or the rest of the file, and run the same command: it goes on there"
_FROM_THE_START = "nothing of the file was kept; mend it and run the command again"

# How long a process may still run whose client is gone: it notices after
# client_connection_check_interval (2 s); after 5 s it is ended.
_OUTLIVE_ATTEMPTS = 150
_OUTLIVE_PAUSE_S = 0.1

_BACKEND = """
SELECT backend_start::text FROM pg_catalog.pg_stat_activity WHERE pid = %s
"""

# What a file sets for its session stays set for the statements that follow: SET LOCAL alone.
_AS_OURSELVES_WITHIN = (
    b"SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE; SET LOCAL search_path = '';\n"
)
# BEGIN, SAVEPOINT; RELEASE, the three of ourselves, the line in the journal, the judgement.
_STATEMENTS_AROUND = 8


def unknown(
    version: str, number: int, settings: Settings, error: psycopg.Error | None = None
) -> OutcomeUnknown:
    """Say that nobody knows whether a statement ended, and what to type in either case."""
    row = f"WHERE version = '{version}' AND step = {number}"
    table, psql = f"{settings.history}_steps", "  invoke db.psql --command"
    return OutcomeUnknown(
        f"{version}.sql: statement {number} was started, and nobody knows whether it ended",
        detail="\n".join(
            [
                *([str(error).strip()] if error else []),
                "when its effect is there:",
                f"{psql} \"UPDATE {table} SET state = 'done' {row}\"",  # noqa: S608 - shown
                "when it is not:",
                f'{psql} "DELETE FROM {table} {row}"',  # noqa: S608 - shown
            ]
        ),
        hint="look whether its effect is there, type one of the two, then run the command again",
    )


# --- its end ----------------------------------------------------------------------------------


def _record(job: Job, session: Sessions, elapsed: int) -> None:
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
    forget = b"SET LOCAL search_path = '';\n"
    forget += journal.forget_steps(connection, job.settings, migration.version)
    try:
        with session.watch() as watcher:
            message = BEGIN + job.sealed_record(connection, b"%d" % elapsed) + forget
            reply = send(connection, message, tick=watcher.tick)
            if reply.error is not None:
                raise reply.error
            judged = judge(
                connection,
                job.settings,
                job.recorded,
                reply,
                index=-3,
                removed=bool(migration.undoes),
            )
            if not (judged.kept and judged.same_transaction and session.lock_is_held()):
                raise psycopg.DataError(NOT_KEPT)
            job.seal_what_stays(connection)
            commit(connection, _pending_record(job, session, judged), tick=watcher.tick)
    except (psycopg.Error, NotCommitted) as error:
        roll_back(connection)
        cause = error.error if isinstance(error, NotCommitted) else error
        raise _not_recorded(job, "recording it failed", facts(cause)) from error


def _not_recorded(job: Job, why: str, detail: str) -> HalfDone:
    total = len(job.file.script.statements)
    done = f"statements done: {total} of {total}; the file is not recorded"
    return HalfDone(
        f"{job.migration.version}.sql: {why}",
        detail="\n".join(filter(None, [detail, done])),
        hint="run the same command again: it only records",
    )


def _pending_record(job: Job, session: Sessions, judged: Judged) -> Pending:
    return Pending(
        what=f"{job.migration.version}.sql",
        transaction=judged.transaction,
        target=session.target,
        is_there=job.is_recorded,
        notify=job.notify,
    )


# --- whether it can go on ---------------------------------------------------------------------


def require_resumable(
    connection: Connection, settings: Settings, accepted: Sequence[Accepted]
) -> None:
    """Raise before anything runs when a file cannot go on where its journal says it stopped.

    FilesError when what already ran was edited or removed, OutcomeUnknown when the end of a
    statement was never seen, and the catalogue cannot tell it.
    """
    for file in accepted:
        if not file.migration.transactional:
            with translated("reading the journal"), only_catalog_names(connection):
                steps = journal.read_steps(connection, settings, file.migration.version)
            _compare(file, steps, settings)


def _compare(file: Accepted, steps: dict[int, Step], settings: Settings) -> None:
    version, statements = file.migration.version, file.script.statements
    for number, step in sorted(steps.items()):
        if number > len(statements):
            raise _edited(version, number, "removed")
        if step.state == journal.STARTED:
            if step.before is None or step.before.get("kind") == "other":
                raise unknown(version, number, settings)
        elif token_checksum(statements[number - 1].text) != step.tokens:
            raise _edited(version, number, "edited")


def _edited(version: str, number: int, how: str) -> FilesError:
    return FilesError(
        f"{version}.sql: statement {number} was {how} after it had run",
        hint="restore the statements that ran; those behind them may be mended",
    )
