"""`lint --fix`: what would hold up a live table becomes its safe sequence, as files.

Only files that are pending are touched. A fix is drafted from texts alone, then proved: the files
as they are and the fixed ones each build a scratch database, and both are the same. Only then
anything is written, all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date

from headwater.checks.building import workshop
from headwater.checks.fixing_drafts import draft_fixes, with_fixes
from headwater.checks.fixing_files import write_fixes
from headwater.checks.reading import Grammar, read_grammar
from headwater.checks.rebuilding import (
    differences,
    failure_line,
    place_for,
    prepare_to_ask,
    require_place,
)
from headwater.checks.scratch import ScratchServer
from headwater.errors import FilesError, HeadwaterError, HistoryError, TargetError
from headwater.files.git import unsaved
from headwater.model import (
    Finding,
    MigrationFolder,
    Notify,
    Plan,
    Said,
    Target,
    ignore,
    plural,
)
from headwater.postgres.connect import connect
from headwater.postgres.databases import Locale, locale_of
from headwater.postgres.pooler import require_own_session
from headwater.postgres.run import pending as pending_now
from headwater.postgres.run import plan_for
from headwater.schema.diff import unmanaged_schemas
from headwater.schema.snapshot import Snapshot
from headwater.settings import Settings
from headwater.verdicts import CheckLine, Fixed, Outcome

__all__ = ["draft_fixes", "fix", "prove", "write_fixes"]


def fix(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    pending: Collection[str] | None = None,
    *,
    today: date,
    notify: Notify = ignore,
) -> Fixed:
    """Draft the safe sequences of what is pending (None: all of it), prove them, write them.

    Where the proof fails nothing is written, and it says why. Raises FilesError when the folder is
    not sound, or a file would be lost that git does not have as it is, HistoryError for a version
    that is not pending (any more), TargetError when there is no place
    for scratch databases. The target itself is only read.
    """
    _require_sound(folder.findings, "nothing was fixed")
    with connect(target, purpose="fix") as connection:
        require_own_session(connection, target)
        prepare_to_ask(connection, settings)
        plan = plan_for(connection, folder, settings)
        chosen = _require_pending(plan, pending)
        version = connection.info.server_version // 10_000
        fixes = draft_fixes(folder, chosen, version=version, today=today)
        if not fixes.changes:
            return Fixed(fixes=fixes)
        _require_saved(folder, [file.name for file in fixes.replaced])
        fixed = with_fixes(folder, fixes)
        place = require_place(
            place_for(connection, target, settings, _grammar_of(folder, fixed), notify), "fixing"
        )
        notify(Said(message="building two scratch databases: from the files, and from the fixed"))
        applied = [row.version for row in plan.applied]
        proof = prove(place, folder, fixed, settings, locale_of(connection), applied=applied)
    if proof.outcome is Outcome.OK:
        _require_still(pending_now(target, folder, settings), chosen)
        write_fixes(folder, fixes)
    return Fixed(fixes=fixes, proof=proof)


def _require_sound(findings: Sequence[Finding], what: str) -> None:
    if findings:
        raise FilesError(
            f"{plural(len(findings), 'problem')} in the migrations; {what}",
            findings=tuple(findings),
            hint="mend the files, then run the same command again",
        )


def _require_pending(plan: Plan, versions: Collection[str] | None) -> tuple[str, ...]:
    """Give the versions in order; raise when one of them is not pending."""
    pending = tuple(migration.version for migration in plan.steps)
    if versions is None:
        return pending
    others = sorted(set(versions) - set(pending))
    if others:
        raise HistoryError(
            f"{', '.join(others)}: only what is pending can be fixed; nothing was changed",
            hint="an applied file is never edited: write a new migration",
        )
    return tuple(version for version in pending if version in versions)


def _require_still(pending: Collection[str], chosen: Collection[str]) -> None:
    """Refuse when somebody has applied a file while the proof was made."""
    applied = sorted(set(chosen) - set(pending))
    if applied:
        raise HistoryError(
            f"{', '.join(applied)} was applied meanwhile; nothing was fixed",
            hint="an applied file is never edited: write a new migration",
        )


def _require_saved(folder: MigrationFolder, names: Sequence[str]) -> None:
    """Refuse to write over what git could not give back."""
    lost = unsaved(folder.path, names)
    if lost:
        raise FilesError(
            f"{', '.join(lost)}: not in git as it is now; nothing was fixed",
            detail="it would be rewritten, and nobody could see the difference",
            hint=f"git add {' '.join(str(folder.path / name) for name in lost)}",
        )


def _grammar_of(folder: MigrationFolder, fixed: MigrationFolder) -> Grammar:
    """Read both folders: nothing of either may reach beyond its database."""
    ours, theirs = read_grammar(folder), read_grammar(fixed)
    _require_sound([*ours.findings, *theirs.findings], "nothing was fixed")
    return replace(
        theirs,
        escaping=(*ours.escaping, *theirs.escaping),
        escaping_by_roles=(*ours.escaping_by_roles, *theirs.escaping_by_roles),
    )


# --- the proof --------------------------------------------------------------------------------


def prove(  # noqa: PLR0913 - a place, two folders, and what they are built as
    place: ScratchServer,
    folder: MigrationFolder,
    fixed: MigrationFolder,
    settings: Settings,
    locale: Locale,
    *,
    applied: Sequence[str] = (),
) -> CheckLine:
    """Build both folders from nothing, and compare; `applied` come first, in that order.

    Everything is compared, down files are tried, and post-conditions hold on the way. Files that
    do not build are a line; TargetError says that the place cannot be used.
    """
    with ExitStack() as stack:
        try:
            shop = stack.enter_context(workshop(place, folder, settings, locale))
            before = stack.enter_context(shop.build(_in_order(folder, applied)))
            expected = before.snapshot()
        except HeadwaterError as error:
            return _line(error, "the files as they are do not build a database")
        try:
            other = stack.enter_context(workshop(place, fixed, settings, locale))
            after = stack.enter_context(other.build(_in_order(fixed, applied)))
            actual = after.snapshot()
        except HeadwaterError as error:
            return _line(error, "the fixed files do not build a database")
        new = [finding for finding in after.undoing if finding not in before.undoing]
        changes = differences(
            expected,
            actual,
            schemas=_schemas(expected, actual, settings),
            scratch=lambda: after.target,
        )
    line = CheckLine(
        name="proof", outcome=Outcome.OK, summary="both build the same schema", changes=changes
    )
    if changes:
        summary = f"{plural(len(changes), 'difference')} between the fixed files and those before"
        return replace(line, outcome=Outcome.FOUND, summary=summary)
    if new:
        summary = "the down files do not undo the fixed files"
        return replace(line, outcome=Outcome.FOUND, summary=summary, findings=tuple(new))
    return line


def _in_order(folder: MigrationFolder, applied: Sequence[str]) -> list[str]:
    rest = [m.version for m in folder.migrations if m.version not in applied]
    there = {m.version for m in folder.migrations}
    return [*(version for version in applied if version in there), *rest]


def _schemas(expected: Snapshot, actual: Snapshot, settings: Settings) -> tuple[str, ...]:
    """Give every schema: the fixed files are to build the same, whoever manages it."""
    return (*settings.schemas, *unmanaged_schemas(expected, actual, settings.schemas))


def _line(error: HeadwaterError, summary: str) -> CheckLine:
    if isinstance(error, TargetError):
        raise error
    return replace(failure_line(error), name="proof", summary=summary)
