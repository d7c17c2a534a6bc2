"""What a migration will do, before anybody says yes: a dry run, measured and weighed."""

from __future__ import annotations

from headwater.checks.tracing import trace_files
from headwater.errors import HeadwaterError
from headwater.model import Migrated, MigrationFolder, Notify, Target, ignore
from headwater.postgres.run import accept
from headwater.postgres.weighing import weights_of
from headwater.settings import Settings
from headwater.verdicts import Foreseen


def foresee(
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    dry_run: Migrated,
    *,
    notify: Notify = ignore,
) -> Foreseen:
    """Trace what a dry run would apply, and weigh it by the tables of the target.

    The target is only read. Where the files cannot be run beside it, a note says why.
    """
    steps = dry_run.plan.steps
    if not steps:
        return Foreseen(migrated=dry_run)
    there = {migration.version for migration in folder.migrations}
    before = [row.version for row in dry_run.plan.applied if row.version in there]
    tracing = trace_files(
        target, folder, settings, before=before, files=accept(steps), notify=notify
    )
    weights, unknown = None, list[str]()
    try:
        weights = weights_of(target, settings) if tracing.traces else None
    except HeadwaterError as error:
        unknown.append(f"the sizes of the tables are not known: {error.message}")
    failing = tuple(f"{each.file}:{each.line}: {each.message}" for each in tracing.failures)
    return Foreseen(
        migrated=dry_run,
        traces=tracing.traces,
        weights=weights,
        notes=(*tracing.notes, *tracing.lost, *failing, *unknown),
    )
