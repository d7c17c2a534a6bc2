"""Whether a down file undoes its migration: up, down, up again, with a snapshot after each.

What is compared is the schema. Data that a migration removes, no down file brings back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwater.checks.rebuilding import apply_files, differences, snapshot_at
from headwater.errors import HeadwaterError, TargetError
from headwater.files.down import DOWN
from headwater.model import Finding, MigrationFolder, Target
from headwater.schema.diff import unmanaged_schemas
from headwater.schema.snapshot import Snapshot
from headwater.settings import Settings
from headwater.verdicts import Change, ChangeKind

_SHOWN = 10


def prove_undo(  # noqa: PLR0913, PLR0917 - a database, the files, and what was seen of it
    database: Target,
    folder: MigrationFolder,
    settings: Settings,
    versions: Sequence[str],
    before: Snapshot,
    after: Snapshot,
) -> list[Finding]:
    """Undo the last migration of a database and do it again; give what is not as it was.

    `versions` are what is applied there, that one last; `before` and `after` were read before and
    after it ran. The database is left in whatever state that came to: it is a clone.
    """
    # Only now: a rebuild that clones everything loads no runner.
    from headwater.postgres.undo import rollback

    version = versions[-1]
    try:
        rollback(database, folder, settings)
        left = _differences(database, before, settings)
        if left:
            return [_finding(version, text) for text in _told(left, _LEFT)]
        apply_files(folder, settings, database, versions)
        other = _differences(database, after, settings)
    except HeadwaterError as error:
        if isinstance(error, TargetError):
            raise
        return [_finding(version, f"it cannot be undone and done again: {error.message}", error)]
    return [_finding(version, f"done again: {text}") for text in _told(other, _OTHER)]


def _differences(database: Target, expected: Snapshot, settings: Settings) -> tuple[Change, ...]:
    """Compare everything: a schema that stays behind is nobody's, and counts all the same."""
    actual = snapshot_at(database, settings)
    schemas = (*settings.schemas, *unmanaged_schemas(expected, actual, settings.schemas))
    return differences(expected, actual, schemas=schemas, scratch=lambda: database)


_LEFT = {
    ChangeKind.EXTRA: "left behind: {object}",
    ChangeKind.MISSING: "not brought back: {object}",
    ChangeKind.CHANGED: "not as before: {object}: {attribute}",
}
_OTHER = {
    ChangeKind.EXTRA: "there is {object} as well",
    ChangeKind.MISSING: "{object} is not there",
    ChangeKind.CHANGED: "{object} has another {attribute}",
}


def _told(changes: Sequence[Change], words: dict[ChangeKind, str]) -> Iterator[str]:
    for change in changes[:_SHOWN]:
        yield words[change.change].format(object=change.object, attribute=change.attribute)
    if len(changes) > _SHOWN:
        yield f"and {len(changes) - _SHOWN} more"


def _finding(version: str, message: str, error: HeadwaterError | None = None) -> Finding:
    return Finding(
        rule="undo",
        message=message,
        file=f"{version}{DOWN}.sql",
        hint="mend the down file, or delete it and say in the migration why nothing undoes it",
        source=error.detail if error else "",
    )
