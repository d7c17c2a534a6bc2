"""Running migrations: what is pending, in order, under one lock; each file its own transaction.

The files are `sequence.py`'s; a transactional one is run by `transaction.py`, a no-transaction one
by `stepwise.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from headwater.errors import FilesError
from headwater.model import (
    Migrated,
    Migration,
    MigrationFolder,
    Notify,
    Plan,
    Target,
    ignore,
    plural,
)
from headwater.postgres import history
from headwater.postgres.connect import Connection, connect
from headwater.postgres.plan import make_plan, require_no_problems
from headwater.settings import Settings

if TYPE_CHECKING:
    from headwater.files.accepted import Accepted


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
    `dry_run` only looks, with the same checks (preview.py); `locked` says that the caller holds
    the lock already. After a failure the earlier files stay applied and recorded, and the failed
    one is as if it had never been tried (a no-transaction file: HalfDone says how far it came).
    """
    if dry_run:
        from headwater.postgres.preview import preview

        return preview(target, folder, settings, to=to, out_of_order=out_of_order)
    with connect(target, purpose="migrate") as connection:
        first = plan_for(connection, folder, settings, to=to, out_of_order=out_of_order)
        require_no_problems(first)
        if not first.steps:
            return Migrated(plan=first)
        # Only now: a run with nothing to do loads neither the runners nor the parser.
        from headwater.postgres.lock import migration_lock
        from headwater.postgres.sequence import run_all

        with nullcontext() if locked else migration_lock(target, settings, notify) as lock:
            plan = plan_for(connection, folder, settings, to=to, out_of_order=out_of_order)
            require_no_problems(plan)
            accepted = accept(plan.steps)
            if accepted and not history.has_history(connection, settings):
                history.create_history(connection, settings)
            results = run_all(
                target, plan, accepted, settings, lock=lock, connection=connection, notify=notify
            )
            return Migrated(plan=plan, results=results)


def accept(migrations: Sequence[Migration]) -> tuple[Accepted, ...]:
    """Check every file before the first one runs. Raises FilesError with all findings.

    The parser is loaded here.
    """
    if not migrations:
        return ()
    from headwater.files.refusals import check_all

    accepted, findings = check_all(migrations)
    if findings:
        raise FilesError(
            f"{plural(len(findings), 'problem')} in the migrations; nothing changed",
            findings=findings,
            hint="mend the files, then run the same command again",
        )
    return accepted
