"""Rollback: undo migrations by their `VERSION.down.sql`, the last applied one first.

A down file runs as a migration does: under the lock, with the same pins, guards and retries, in a
transaction of its own or, with the directive, statement by statement. What differs is its record:
the row of the version is deleted in the transaction that undoes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headwater.errors import HistoryError, SettingsError
from headwater.files.down import DOWN, down_of
from headwater.model import (
    Entry,
    Finding,
    Migration,
    MigrationFolder,
    Notify,
    Plan,
    State,
    Target,
    ignore,
    plural,
)
from headwater.outcomes import RolledBack
from headwater.postgres.connect import connect, pin_for_bookkeeping
from headwater.postgres.databases import require_confirmed
from headwater.postgres.encryption import warn
from headwater.postgres.lock import migration_lock
from headwater.postgres.plan import advice, newest_first
from headwater.postgres.pooler import require_own_session
from headwater.postgres.rights import require_able
from headwater.postgres.run import accept, plan_for
from headwater.postgres.sequence import run_all
from headwater.postgres.translate import translated
from headwater.settings import Settings


def rollback(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    *,
    to: str = "",
    steps: int = 0,
    confirm: str = "",
    notify: Notify = ignore,
) -> RolledBack:
    """Undo the last `steps` migrations (0: one), or all that were applied after the version `to`.

    In order: connect, read history, choose; require what a run needs of the target, and its name
    in `confirm` unless it is disposable; lock, read history and choose again, check every down
    file, run one after the other. Nothing runs when anything is wrong. After a failure those that
    were undone stay undone, and the failed one is as it was (a no-transaction file: HalfDone says
    how far it came, and the same command goes on).
    """
    if steps < 0 or (to and steps):
        raise SettingsError(
            "--to says up to which version, --steps how many (at least 1): give one of them"
        )
    with connect(target, purpose="rollback", impatient=True) as connection:
        chosen = choose(plan_for(connection, folder, settings), to=to, steps=steps)
        if not chosen:
            return RolledBack()
        warn(connection, target, notify)
        require_able(connection, target, settings, undoes=True)
        require_own_session(connection, target)
        require_confirmed(
            connection,
            target,
            confirm,
            command=_command(to, steps),
            why="undoing may lose data",
        )
        with translated("preparing the session"):
            pin_for_bookkeeping(connection, lock_timeout_ms=settings.lock_timeout_ms)
        with migration_lock(target, settings, notify) as lock:
            plan = plan_for(connection, folder, settings)
            now = choose(plan, to=to, steps=steps)
            _require_same(chosen, now, to=to)
            results = run_all(
                target,
                plan,
                accept([down_of(migration) for migration in now]),
                settings,
                lock=lock,
                connection=connection,
                notify=notify,
            )
    return RolledBack(
        results=tuple(replace(r, version=r.version.removesuffix(DOWN)) for r in results)
    )


def _require_same(before: Sequence[Migration], now: Sequence[Migration], *, to: str) -> None:
    """Raise HistoryError when another runner has changed what would be undone, meanwhile.

    Whoever counts steps means what is there now, and has typed the database's name for that. On
    the way back to a version the other one may have gone a part of it.
    """
    versions, wanted = ([m.version for m in each] for each in (now, before))
    if versions != wanted and not (to and versions == wanted[len(wanted) - len(versions) :]):
        raise HistoryError(
            "history has changed while another runner was waited for; nothing was undone",
            hint="look at it again: invoke status",
        )


def _command(to: str, steps: int) -> str:
    flag = f" --to {to}" if to else f" --steps {steps}" if steps else ""
    return f"invoke rollback{flag}"


# --- which ones -------------------------------------------------------------------------------


def choose(plan: Plan, *, to: str = "", steps: int = 0) -> tuple[Migration, ...]:
    """Choose what is to be undone, in that order: the last applied one first.

    Pure. Raises HistoryError when `to` is not applied, when a file stopped in the middle, or when
    one of those that were chosen disagrees with its file or has no down file.
    """
    _require_whole(plan)
    entries = newest_first(plan)
    if to:
        place = next((i for i, entry in enumerate(entries) if entry.version == to), None)
        if place is None:
            raise HistoryError(
                f"{to} is not applied; nothing was undone",
                hint="invoke status lists the versions; write one in full",
            )
        if entries[place].state is State.HALF_UNDONE:
            raise HistoryError(
                f"{to} cannot stay: its undoing has begun; nothing was undone",
                hint="invoke rollback goes on with it",
            )
        chosen = entries[:place]
    else:
        chosen = entries[: steps or 1]
    findings = [finding for entry in chosen for finding in _faults(entry)]
    if findings:
        raise HistoryError(
            f"{plural(len(findings), 'migration')} cannot be undone; nothing was changed",
            findings=tuple(findings),
            hint="mend that, or undo it by a new migration",
        )
    return tuple(entry.migration for entry in chosen if entry.migration)


def _require_whole(plan: Plan) -> None:
    for entry in plan.entries:
        if entry.state is State.HALF_DONE:
            raise HistoryError(
                f"{entry.version} stopped in the middle; nothing was undone",
                hint=f"first let it end: {advice(entry)}",
            )


def _faults(entry: Entry) -> Sequence[Finding]:
    """Say why an applied version cannot be undone by its file."""
    if entry.migration is None or entry.state not in (State.APPLIED, State.HALF_UNDONE):
        return (
            Finding(
                rule="not-undone",
                message=f"it is {entry.state}",
                file=f"{entry.version}.sql",
                hint=advice(entry),
            ),
        )
    file = f"{entry.version}{DOWN}.sql"
    if entry.migration.down is None:
        return (
            Finding(
                rule="no-down",
                message=f"{entry.version} has no down file",
                file=file,
                hint=f"write {file}: invoke verify proves that it undoes the migration",
            ),
        )
    if entry.state is State.HALF_UNDONE and down_of(entry.migration).transactional:
        return (
            Finding(
                rule="not-undone",
                message="statements of it ran without a transaction, and now it would run in one "
                "from its start",
                file=file,
                hint="restore its directive: -- headwater: no-transaction",
            ),
        )
    return ()
