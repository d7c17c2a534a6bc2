"""A dry run: what `migrate` would do, read in a transaction that the server keeps from writing."""

from __future__ import annotations

import psycopg

from headwater.files.accepted import Accepted
from headwater.model import Migrated, MigrationFolder, Preview, Target
from headwater.postgres import history
from headwater.postgres.connect import connect
from headwater.postgres.plan import require_no_problems
from headwater.postgres.run import accept, plan_for
from headwater.postgres.stepwise import require_resumable
from headwater.postgres.translate import translated
from headwater.settings import Settings


def preview(
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    *,
    to: str = "",
    out_of_order: frozenset[str] = frozenset(),
) -> Migrated:
    """Plan, and check every pending file, as `migrate` would before its first statement.

    Raises what that would raise. Only SELECTs, of one moment and without the lock: it works on a
    standby, and with a role that may only read.
    """
    with connect(target, purpose="dry run", impatient=True) as connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with translated("reading for the dry run"), connection.transaction():
            plan = plan_for(connection, folder, settings, to=to, out_of_order=out_of_order)
            require_no_problems(plan)
            accepted = accept(plan.steps)
            if accepted and history.has_history(connection, settings):
                require_resumable(connection, settings, accepted)
    return Migrated(plan=plan, dry_run=True, previews=tuple(map(_preview, accepted)))


def _preview(file: Accepted) -> Preview:
    return Preview(
        version=file.migration.version,
        sql=file.migration.text,
        transactional=file.migration.transactional,
        post_conditions=tuple(sentence.sentence for sentence in file.sentences),
    )
