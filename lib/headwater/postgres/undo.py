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
    RolledBack,
    State,
    Target,
    ignore,
    plural,
)
from headwater.postgres.connect import Connection, connect, pin_for_bookkeeping
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
            return _undo(connection, lock, target, folder, settings, to, steps, notify)


def _undo(  # noqa: PLR0913, PLR0917 - what rollback was given
    connection: Connection,
    lock: Connection,
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    to: str,
    steps: int,
    notify: Notify,
) -> RolledBack:
    plan = plan_for(connection, folder, settings)
    accepted = accept([down_of(migration) for migration in choose(plan, to=to, steps=steps)])
    results = run_all(
        target, plan, accepted, settings, lock=lock, connection=connection, notify=notify
    )
    return RolledBack(
        results=tuple(replace(r, version=r.version.removesuffix(DOWN)) for r in results)
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
        chosen = entries[:place]
    else:
        chosen = entries[: steps or 1]
    findings = [finding for entry in chosen for finding in _faults(entry)]
    if findings:
        raise HistoryError(
            f"{plural(len(findings), 'migration')} cannot be undone; nothing was changed",
            findings=tuple(findings),
            hint="write what is lacking, or undo it by a new migration",
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
    if entry.migration.down is None:
        return (
            Finding(
                rule="no-down",
                message="there is no such file",
                file=f"{entry.version}{DOWN}.sql",
                hint="it says what undoes the migration; invoke verify proves that it does",
            ),
        )
    return ()
