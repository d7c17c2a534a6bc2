"""A file that came too late gets today's date: the same description, behind all that is there."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from headwater.errors import FilesError
from headwater.files.lockfile import LOCK, lock_names
from headwater.files.names import fault_of_version, version_of
from headwater.files.read import SIBLINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Redated:
    """A migration that was renamed: each file as it was called and is called now."""

    before: str
    version: str
    renamed: tuple[tuple[Path, Path], ...]
    notes: tuple[str, ...] = ()
    """What is still to be done or thought of: the lock file, a file that sorts behind it."""


def redate(folder: Path, version: str, *, applied: Collection[str], today: date) -> Redated:
    """Rename VERSION.sql and its siblings, so that it has the date `today` (in UTC).

    `applied` are the versions in the history of the target: those keep their names. Either every
    file of it is renamed or none: after a failure those that were are called as before. Nothing in
    the files or beside them changes. Raises FilesError when it is refused or fails.
    """
    version = version.removesuffix(".sql")
    versions = _versions_in(folder)
    _require_known(version, versions)
    _require_unapplied(version, applied)
    new = f"{today:%Y%m%d}_{version.partition('_')[2]}"
    _require_change(version, new, versions)
    moves = _moves(folder, version, new)
    _rename_all(moves)
    later = [v for v in versions if v > new and v != version]
    return Redated(
        before=version, version=new, renamed=moves, notes=_notes(folder, version, new, later)
    )


def _versions_in(folder: Path) -> list[str]:
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise FilesError(
            f"the folder of migrations cannot be read: {folder}", detail=error.strerror or ""
        ) from error
    return sorted(version for name in names if (version := version_of(name)))


def _require_known(version: str, versions: Sequence[str]) -> None:
    if version in versions:
        return
    close = difflib.get_close_matches(version, versions, n=3)
    raise FilesError(
        f"there is no {version}.sql",
        detail=f"close to it: {', '.join(close)}" if close else "",
        hint="invoke migration.redate wants the name of a file without .sql, all of it",
    )


def _require_unapplied(version: str, applied: Collection[str]) -> None:
    if version in applied:
        raise FilesError(
            f"{version} is applied on the target: an applied file keeps its name",
            hint="leave it; what it lacks belongs into a new one: invoke migration.new NAME",
        )


def _require_change(version: str, new: str, versions: Sequence[str]) -> None:
    """Refuse what has no date to change, and what would change nothing or take another's name."""
    prefix = version.partition("_")[0]
    if len(prefix) == 4:
        raise FilesError(
            f"{version} has a number, not a date",
            hint="rename it by hand: the next number, or a date if the files behind it have dates",
        )
    if new == version and version == versions[-1]:
        raise FilesError(f"{version} is of today already, and the last one: nothing to do")
    if new == version:
        raise FilesError(
            f"{version} is of today already, but sorts before {versions[-1]}",
            hint="rename it by hand to what sorts behind, or wait for tomorrow",
        )
    if fault := fault_of_version(new):
        raise FilesError(f"{version} cannot be called {new}", detail=fault)


def _moves(folder: Path, version: str, new: str) -> tuple[tuple[Path, Path], ...]:
    """Give what is to be renamed, siblings first; refuse when a new name is taken."""
    suffixes = [*(f".{sibling}.sql" for sibling in SIBLINGS), ".sql"]
    pairs = [(folder / f"{version}{each}", folder / f"{new}{each}") for each in suffixes]
    moves = tuple((old, to) for old, to in pairs if os.path.lexists(old))
    for _, to in pairs:
        # Whatever is there: renaming would write over it.
        if os.path.lexists(to):
            raise FilesError(
                f"{to.name} is there already", hint="look which of the two is right, and remove one"
            )
    return moves


def _rename_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename file after file; when one cannot be, or somebody interrupts, take back what was."""
    done = list[tuple[Path, Path]]()
    try:
        for old, new in moves:
            old.rename(new)
            done.append((old, new))
    except BaseException as error:
        left = _take_back(done)
        if isinstance(error, OSError):
            raise FilesError(
                f"{moves[len(done)][0].name} cannot be renamed",
                detail="\n".join([error.strerror or str(error), *left]),
                hint="rename them by hand" if left else "nothing has changed",
            ) from error
        raise


def _take_back(done: Sequence[tuple[Path, Path]]) -> list[str]:
    """Give each file its old name again; say which could not get it."""
    left = []
    for old, new in reversed(done):
        try:
            new.rename(old)
        except OSError as error:
            left.append(f"{new.name} should be {old.name}: {error.strerror}")
    return left


def _notes(folder: Path, before: str, version: str, later: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if later:
        notes.append(f"{version} still sorts before {', '.join(later)}: a rebuild runs it first")
    if lock_names(folder, before):
        notes.append(f"{before} stands in {LOCK}: run invoke migration.lock")
    return tuple(notes)
