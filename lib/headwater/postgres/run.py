"""Running migrations: what is pending, in order, under one lock; each file its own transaction.

The files are `sequence.py`'s; a transactional one is run by `transaction.py`, a no-transaction one
by `stepwise.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from headwater.errors import FilesError, TargetError
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
from headwater.postgres.connect import Connection, connect, pin_for_bookkeeping
from headwater.postgres.encryption import protection, warn
from headwater.postgres.plan import make_plan, require_no_problems
from headwater.postgres.translate import translated
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
    rows = history.read_history(connection, settings)
    half_done, notes = _half_done(connection, settings)
    plan = make_plan(folder.migrations, rows, to=to, out_of_order=out_of_order, half_done=half_done)
    return replace(plan, notes=notes) if notes else plan


def _half_done(
    connection: Connection, settings: Settings
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Read the journal; where the role may not, say so: it is enough for a look at the rest."""
    try:
        return history.versions_half_done(connection, settings), ()
    except TargetError as error:
        if not isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise
    note = (
        f"the role may not read {settings.history}_steps: a file that stopped half way is shown "
        "as pending"
    )
    return frozenset(), (note,)


def status(target: Target, folder: MigrationFolder, settings: Settings) -> Plan:
    """Say how every version stands. Only SELECTs: it works on a standby and with few rights."""
    from headwater.postgres.seal import look  # only now: it reads catalogues

    with connect(target, purpose="status", impatient=True) as connection:
        plan = plan_for(connection, folder, settings)
        protected = protection(connection, target)
        notes = (*plan.notes, protected) if protected else plan.notes
        return replace(plan, notes=notes, schema=look(connection, settings, plan.applied))


def pending(target: Target, folder: MigrationFolder, settings: Settings) -> tuple[str, ...]:
    """Give the versions that are not applied to the target."""
    with connect(target, purpose="status", impatient=True) as connection:
        return tuple(step.version for step in plan_for(connection, folder, settings).steps)


def migrate(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    *,
    to: str = "",
    out_of_order: frozenset[str] = frozenset(),
    dry_run: bool = False,
    locked: bool = False,
    seals: bool = True,
    notify: Notify = ignore,
) -> Migrated:
    """Apply every pending migration in order, under the lock.

    In order: connect, read history, plan; when something is pending: require what a run needs of
    the target, lock, read history again, check every pending file, run one after the other.
    Nothing runs when anything is wrong. `dry_run` only looks, with the same checks (preview.py);
    `locked` says that the caller holds the lock already, `seals` whether the fingerprint of the
    schema is noted with the last record. After a failure the earlier files stay
    applied and recorded, and the failed one is as if it had never been tried (a no-transaction
    file: HalfDone says how far it came).
    """
    if dry_run:
        from headwater.postgres.preview import preview

        return preview(target, folder, settings, to=to, out_of_order=out_of_order)
    with connect(target, purpose="migrate", impatient=True) as connection:
        first = plan_for(connection, folder, settings, to=to, out_of_order=out_of_order)
        require_no_problems(first)
        if not first.steps:
            return Migrated(plan=first)
        # Only now: a run with nothing to do loads neither the runners nor the parser.
        from headwater.postgres.lock import migration_lock
        from headwater.postgres.pooler import require_own_session
        from headwater.postgres.rights import require_able
        from headwater.postgres.sequence import run_all

        warn(connection, target, notify)
        require_able(connection, target, settings)
        require_own_session(connection, target)
        with translated("preparing the session"):
            # It waits for the lock and then makes the history: no timeout of the role's may end it.
            pin_for_bookkeeping(connection, lock_timeout_ms=settings.lock_timeout_ms)
        with nullcontext() if locked else migration_lock(target, settings, notify) as lock:
            plan = plan_for(connection, folder, settings, to=to, out_of_order=out_of_order)
            require_no_problems(plan)
            accepted = accept(plan.steps)
            if accepted and not history.has_history(connection, settings):
                history.create_history(connection, settings)
            results = run_all(
                target,
                plan,
                accepted,
                settings,
                lock=lock,
                connection=connection,
                notify=notify,
                seals=seals,
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
