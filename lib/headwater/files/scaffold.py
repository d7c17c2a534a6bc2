"""A new migration: its name, checked against those that exist, and its first lines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from headwater.errors import FilesError
from headwater.files.names import fault_of_description
from headwater.files.read import read_folder
from headwater.model import Migration

TEMPLATE = """\
-- {title}
--
-- Why: (the reason in a sentence or two; the what stands below)
--
-- Before you push (CONTRIBUTING.md has the reasons):
--   [ ] one purpose, and a name that says it
--   [ ] safe on a live table: no long lock, no rewrite, no scan under a lock (invoke lint)
--   [ ] what undoes it: {version}.down.sql, or a sentence here why nothing does
--   [ ] invoke reset && invoke verify && invoke test

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMigration:
    """A file that was written; `note` warns when its name sorts before another of its day."""

    path: Path
    version: str
    note: str = ""


def new_migration(
    folder: Path, description: str, *, today: date, existing: Sequence[Migration] | None = None
) -> NewMigration:
    """Write `YYYYMMDD_description.sql` with a short template, and give its path.

    `today` is a date in UTC, so that two people in two places name in one order. Raises
    FilesError for a bad or used description; an existing file is never written over. `existing`
    are the folder's migrations (default: read from it, where it is there).
    """
    if existing is None:
        existing = _existing(folder)
    description = description.removesuffix(".sql")
    if fault := fault_of_description(description):
        raise FilesError(
            f"{description!r} cannot be the name of a migration",
            detail=fault,
            hint="invoke migration.new add_project_status",
        )
    for migration in existing:
        if migration.description == description:
            raise FilesError(
                f"the description {description!r} is already used",
                detail=f"by {migration.version}.sql",
                hint="choose a name that says what is new",
            )
    version = f"{today:%Y%m%d}_{description}"
    path = folder / f"{version}.sql"
    title = description.replace("_", " ").capitalize()
    _write_new(path, TEMPLATE.format(title=f"{title}.", version=version))
    return NewMigration(path=path, version=version, note=_order_note(version, existing))


def _existing(folder: Path) -> Sequence[Migration]:
    """Read the migrations of a folder; the first one may be the one that makes the folder."""
    try:
        return read_folder(folder).migrations
    except FilesError:
        return ()


def write_dotenv(root: Path) -> bool:
    """Write `.env` from `.env.example` unless it is there; say whether it was written.

    Only its owner may read it: passwords will stand in it.
    """
    example, dotenv = root / ".env.example", root / ".env"
    if dotenv.exists() or not example.exists():
        return False
    _write_new(dotenv, example.read_text(encoding="utf-8"), mode=0o600)
    return True


def _write_new(path: Path, text: str, *, mode: int = 0o666) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise FilesError(f"{path.name} cannot be written", detail=error.strerror or "") from error
    with open(descriptor, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123
        file.write(text)


def _order_note(version: str, existing: Sequence[Migration]) -> str:
    """Say when the new file would not be the last one: by name within its day, or by date."""
    later = [migration.version for migration in existing if migration.version > version]
    if not later:
        return ""
    return (
        f"{version} sorts before {', '.join(later)}: a rebuild runs it first. "
        "If it needs what they build, give it a later date"
    )
