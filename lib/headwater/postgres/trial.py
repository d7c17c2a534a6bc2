"""A trial: everything that is pending runs in one transaction, which is then rolled back.

The files run with the guards, the pins, the order and the post-conditions of `migrate`. Nothing
stays but what no rollback takes back: sequences may have advanced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from headwater.errors import FilesError, LockBusy, MigrationFailed, UnsafeTarget
from headwater.files.accepted import Accepted
from headwater.model import (
    Finding,
    Migration,
    MigrationFolder,
    MigrationResult,
    Notify,
    Plan,
    Said,
    Target,
    ignore,
)
from headwater.outcomes import TableLock, Tried
from headwater.postgres import history
from headwater.postgres.connect import Connection, connect, pin
from headwater.postgres.databases import is_disposable, name_of
from headwater.postgres.encryption import warn
from headwater.postgres.job import Job, backend_of
from headwater.postgres.lock import migration_lock, sessions_with_locks
from headwater.postgres.patience import patiently
from headwater.postgres.plan import require_no_problems
from headwater.postgres.rights import require_able
from headwater.postgres.run import accept, plan_for
from headwater.postgres.tablelocks import in_lines, locks_held, locks_to_come
from headwater.postgres.together import (
    NEEDS_SEVERAL_TRANSACTIONS,
    PATIENCE,
    fits_into_one_transaction,
    require_sent,
    run_together,
)
from headwater.postgres.transaction import BEGIN, roll_back
from headwater.postgres.translate import translated
from headwater.settings import Settings

_KEPT = "nothing was kept"


def trial(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    *,
    to: str = "",
    out_of_order: frozenset[str] = frozenset(),
    confirm: str = "",
    notify: Notify = ignore,
) -> Tried:
    """Run everything pending in one transaction, and roll it back.

    In order: connect, read history, plan, check every pending file; on a target that is not
    disposable say which locks will be held, and require its name in `confirm`; take the lock, look
    at all of it again, run, roll back. However it ends, nothing is kept: no row, no table of
    history either. Raises FilesError for a file that one transaction cannot hold, UnsafeTarget
    without the name, MigrationFailed when a file fails, LockBusy when its locks are not to be had.
    """
    work = _Trial(
        target=target,
        folder=folder,
        settings=settings,
        to=to,
        out_of_order=out_of_order,
        confirm=confirm,
        notify=notify,
    )
    with connect(target, purpose="trial", impatient=True) as connection:
        plan, accepted = work.prepare(connection)
        if not accepted:
            return Tried(plan=plan)
        warn(connection, target, notify)
        with migration_lock(target, settings, notify) as lock:
            plan, accepted = work.prepare(connection)  # by now another runner may have done it
            if not accepted:
                return Tried(plan=plan)
            return work.run(connection, lock, plan, accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One trial: what is tried, where, and who is told."""

    target: Target
    folder: MigrationFolder
    settings: Settings
    to: str
    out_of_order: frozenset[str]
    confirm: str
    notify: Notify

    def prepare(self, connection: Connection) -> tuple[Plan, tuple[Accepted, ...]]:
        """Plan, and refuse what cannot be tried, or not here; nothing has run by then."""
        plan = plan_for(
            connection, self.folder, self.settings, to=self.to, out_of_order=self.out_of_order
        )
        require_no_problems(plan)
        _require_transactional(plan.steps)
        accepted = accept(plan.steps)
        _require_one_transaction(accepted)
        if accepted:
            require_able(connection, self.target, self.settings)
        self._require_confirmed(connection, accepted)
        return plan, accepted

    def _require_confirmed(self, connection: Connection, accepted: Sequence[Accepted]) -> None:
        """Require the name of the database, typed, where others may wait for what is held."""
        name = name_of(connection)
        if self.confirm and self.confirm != name:
            raise UnsafeTarget(
                f"the target is {self.target}, not {self.confirm!r}; nothing was run",
                hint=f"if it is the right one: --confirm {name}",
            )
        with translated("looking at the target"):
            if not accepted or self.confirm or is_disposable(connection):
                return
        locks = locks_to_come(connection, accepted)
        raise UnsafeTarget(
            f"{self.target} is not disposable: others may wait for what a trial locks",
            detail=_will_hold(locks),
            hint=f"when that may be: invoke migrate --trial --confirm {name}",
        )

    def run(
        self,
        connection: Connection,
        lock: Connection,
        plan: Plan,
        accepted: Sequence[Accepted],
    ) -> Tried:
        """Run the files and roll back, trying again while a lock is not to be had."""
        if self.confirm:
            self.notify(Said(message=_will_hold(locks_to_come(connection, accepted))))
        timeout_ms = self.settings.lock_timeout_ms
        return patiently(
            lambda: self._try(connection, lock, plan, accepted),
            PATIENCE,
            blockers=lambda: sessions_with_locks(connection),
            tell=lambda said: self.notify(Said(message=said)),
            give_up=lambda attempts: LockBusy(
                f"a lock was not to be had within {timeout_ms} ms, {attempts} times; {_KEPT}",
                hint="try again at a quieter time, or end the session that holds the lock",
            ),
        )

    def _try(
        self,
        connection: Connection,
        lock: Connection,
        plan: Plan,
        accepted: Sequence[Accepted],
    ) -> Tried:
        results = list[MigrationResult]()
        with translated("preparing the session"):
            pin(connection, lock_timeout_ms=self.settings.lock_timeout_ms)
        begin = BEGIN
        if not history.has_history(connection, self.settings):
            begin += b"SET LOCAL search_path = '';\n"
            begin += history.creation(connection, self.settings) + b"RESET search_path;\n"
        try:
            require_sent(connection, begin, "beginning the trial")
            results.extend(run_together(connection, self._jobs(plan, accepted)))
            held = locks_held(lock, backend_of(connection), self.settings)
        except MigrationFailed as error:
            raise _told(error, accepted, len(results)) from error.__cause__
        finally:
            # Also after Ctrl-C. A connection that is gone by then has rolled back by itself.
            roll_back(connection)
        return Tried(plan=plan, results=tuple(results), locks=held)

    def _jobs(self, plan: Plan, accepted: Sequence[Accepted]) -> list[Job]:
        newest = max(
            (e.migration.prefix for e in plan.entries if e.migration and e.applied), default=""
        )
        return [
            Job(
                file=file,
                settings=self.settings,
                out_of_order=file.migration.prefix < newest,
                notify=self.notify,
            )
            for file in accepted
        ]


def _will_hold(locks: Sequence[TableLock]) -> str:
    if not locks:
        return "by their text the files lock no table that is there"
    return f"until it has rolled back it will hold, by the text of the files:\n{in_lines(locks)}"


def _require_transactional(steps: Sequence[Migration]) -> None:
    """Refuse a trial of what cannot be rolled back."""
    outside = [step for step in steps if not step.transactional]
    if outside:
        raise FilesError(
            "a trial is one transaction, and cannot hold what is marked no-transaction; "
            "nothing was run",
            findings=tuple(
                Finding(
                    rule="no-transaction",
                    message="it runs outside a transaction",
                    file=f"{step.version}.sql",
                )
                for step in outside
            ),
            hint=_only_those_before(steps, outside[0]),
        )


def _require_one_transaction(accepted: Sequence[Accepted]) -> None:
    """Refuse SET CONSTRAINTS ahead of other files: it holds to the end of the transaction."""
    for file in accepted[:-1]:
        if not fits_into_one_transaction(file):
            version = file.migration.version
            raise FilesError(
                f"{version}.sql sets constraints for its transaction, which the files behind it "
                "would share in a trial; nothing was run",
                hint=f"try the files up to it: invoke migrate --trial --to {version}",
            )


def _only_those_before(steps: Sequence[Migration], first: Migration) -> str:
    before = [step.version for step in steps if step.version < first.version]
    if not before:
        return "invoke migrate --dry-run shows what it would run"
    return f"try those before it: invoke migrate --trial --to {before[-1]}"


# What is in the way of several files in one transaction, and not of each in its own. A constraint
# that is violated is mostly a mistake: but now() is one moment in all files of a trial.
_ONE_TRANSACTION = tuple(e for e in NEEDS_SEVERAL_TRANSACTIONS if e is not psycopg.IntegrityError)


def _told(error: MigrationFailed, accepted: Sequence[Accepted], done: int) -> MigrationFailed:
    """Say that nothing was kept; and, where that is the cause, that the trial is one transaction.

    The first file has nothing before it that a commit of its own would have settled.
    """
    error.hint = f"{_KEPT}; mend the file and run the same command again"
    if done and isinstance(error.__cause__, _ONE_TRANSACTION):
        before = accepted[done - 1].migration.version
        error.detail += f"\n{_ONLY_A_TRIAL}"
        error.hint = f"{_KEPT}; for those before it: invoke migrate --trial --to {before}"
    elif done and isinstance(error.__cause__, psycopg.errors.UniqueViolation):
        error.detail += "\n(now() is one moment in all the files of a trial)"
    return error


_ONLY_A_TRIAL = (
    "one transaction cannot hold this file together with those before it; migrate commits in "
    "between, and may well run it"
)
