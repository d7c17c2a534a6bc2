"""`migrations.lock`: one line a migration, so that two branches that both add one meet in git.

Each line ends in a hash of itself and of all lines above. So whatever a branch adds, edits or
renames, the last line is another one; and two branches that both did so conflict, wherever in the
order their files stand. A merge that keeps the lines of both is found, because their hashes do not
follow from each other. (Atlas has a sum of all lines at the head of its atlas.sum, for the same
reason.)

It is of migrations alone: what undoes one, or must hold after it, may change later.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from headwater.errors import FilesError
from headwater.files.read import read_regular_file
from headwater.files.text import normalise
from headwater.files.writing import replace_file
from headwater.model import Finding, Migration, MigrationFolder

LOCK = "migrations.lock"

HEAD = """\
# Written by `invoke migration.lock`, and by nothing else: do not edit it.
# A line for each migration: version, checksum of its text, and a hash of all lines up to here.
# When git finds a conflict here, another branch has added a migration as well: see to the order of
# the files (invoke migration.redate VERSION gives one today's date), then write this anew.
"""

# 64 bits: they tell mistakes. Who can write the file could forge a longer one as well.
_CHAIN_DIGITS = 16

_LINE = re.compile(rf"(\S+) (sha256-[0-9]+:[0-9a-f]{{64}}) ([0-9a-f]{{{_CHAIN_DIGITS}}})")
_CONFLICT = re.compile(r"(<{7}|\|{7}|={7}|>{7})( |$)")


class Wrong(Enum):
    """In which way a lock file is not what it should be."""

    CONFLICT = "conflict"
    MALFORMED = "malformed"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFault:
    """One thing that is wrong with a lock file; `line` counts from 1, 0 is the file as a whole."""

    wrong: Wrong
    message: str
    line: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A lock file that was written; `changed` is False when it said the same before."""

    path: Path
    files: int
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One line of the file as it stands there."""

    version: str
    checksum: str
    chain: str
    line: int
    source: str


# --- writing ----------------------------------------------------------------------------------


def render_lock(migrations: Iterable[Migration]) -> str:
    """Give the text of the lock file for these migrations, in order of version."""
    chain, lines = "", list[str]()
    for migration in sorted(migrations, key=lambda migration: migration.version):
        chain = _next(chain, migration.version, migration.checksum)
        lines.append(f"{migration.version} {migration.checksum} {chain}\n")
    return HEAD + "".join(lines)


def _next(chain: str, version: str, checksum: str) -> str:
    line = f"{chain} {version} {checksum}"
    return hashlib.sha256(line.encode()).hexdigest()[:_CHAIN_DIGITS]


def write_lock(folder: MigrationFolder) -> Locked:
    """Write the lock file of a sound folder: all of it, or nothing.

    The new text is written beside it and put in its place in one step. Raises FilesError when that
    cannot be; the old file is there then, as it was.
    """
    path = folder.path / LOCK
    text = render_lock(folder.migrations).encode()
    changed = read_regular_file(path) != text
    if changed:
        _replace(path, text)
    return Locked(path=path, files=len(folder.migrations), changed=changed)


def _replace(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content)
    except OSError as error:
        raise FilesError(
            f"{path.name} cannot be written", detail=f"{path}: {error.strerror}"
        ) from error


# --- comparing --------------------------------------------------------------------------------


def lock_names(folder: Path, version: str) -> bool:
    """Say whether the lock file of a folder has a line for a version."""
    raw = read_regular_file(folder / LOCK)
    return (
        isinstance(raw, bytes)
        and re.search(rb"^" + re.escape(version.encode()) + rb" ", raw, re.MULTILINE) is not None
    )


def lock_faults(folder: MigrationFolder) -> tuple[LockFault, ...]:
    """Say in which ways the lock file is not what it would be if it were written now.

    Nothing where there is none: a project need not have one. What cannot be read stops the
    comparison; one conflict is told once.
    """
    path = folder.path / LOCK
    if not os.path.lexists(path):
        return ()
    raw = read_regular_file(path)
    if isinstance(raw, str):
        return (LockFault(wrong=Wrong.MALFORMED, message=raw),)
    text = normalise(raw, LOCK)
    if isinstance(text, Finding):
        return (LockFault(wrong=Wrong.MALFORMED, message=text.message, line=text.line),)
    lines = text.split("\n")
    if conflict := _conflict(lines):
        return (conflict,)
    entries, malformed = _parse(lines)
    return tuple(malformed or _stale(folder, entries))


def _conflict(lines: Sequence[str]) -> LockFault | None:
    for number, line in enumerate(lines, 1):
        if _CONFLICT.match(line):
            return LockFault(
                wrong=Wrong.CONFLICT,
                message="git found a conflict here: two branches have changed the migrations",
                line=number,
                source=line,
            )
    return None


def _parse(lines: Sequence[str]) -> tuple[list[_Entry], list[LockFault]]:
    """Read the lines behind the comments; the one behind the last line end is empty."""
    entries, faults, seen = list[_Entry](), list[LockFault](), dict[str, int]()
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or (not line and number == len(lines)):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            message = "this is no line of VERSION CHECKSUM HASH"
            faults.append(_malformed(message, number, line))
        elif match[1] in seen:
            message = f"{match[1]} stands on line {seen[match[1]]} already"
            faults.append(_malformed(message, number, line))
        else:
            seen[match[1]] = number
            version, checksum, chain = match.groups()
            entries.append(
                _Entry(version=version, checksum=checksum, chain=chain, line=number, source=line)
            )
    return entries, faults


def _malformed(message: str, line: int, source: str) -> LockFault:
    return LockFault(wrong=Wrong.MALFORMED, message=message, line=line, source=source)


def _stale(folder: MigrationFolder, entries: Sequence[_Entry]) -> list[LockFault]:
    """Compare lines with files; where they agree, look at the order and the hashes."""
    found = [*_gone_or_edited(folder, entries), *_added(folder, entries)]
    if not found:
        found = list(_unchained(entries))
    return sorted(found, key=lambda fault: fault.line)


def _gone_or_edited(folder: MigrationFolder, entries: Sequence[_Entry]) -> Iterator[LockFault]:
    files = {migration.version: migration.checksum for migration in folder.migrations}
    locked = {entry.version for entry in entries}
    unlocked = {checksum: v for v, checksum in files.items() if v not in locked}
    for entry in entries:
        name = f"{entry.version}.sql"
        if entry.version in files:
            if files[entry.version] != entry.checksum:
                yield _at(entry, f"{name} has changed since this was written")
        elif entry.checksum in unlocked:
            yield _at(entry, f"{name} is called {unlocked[entry.checksum]}.sql now")
        elif not os.path.lexists(folder.path / name):
            # (One that is there and could not be read has a finding of its own.)
            yield _at(entry, f"{name} is not in the folder any more")


def _added(folder: MigrationFolder, entries: Sequence[_Entry]) -> Iterator[LockFault]:
    """Tell of files without a line, at the line that they would stand before, or at the last."""
    locked = {entry.version for entry in entries}
    files = {migration.version for migration in folder.migrations}
    moved = {entry.checksum for entry in entries if entry.version not in files}
    for migration in folder.migrations:
        if migration.version in locked or migration.checksum in moved:
            continue
        behind = (entry for entry in entries if entry.version > migration.version)
        place = next(behind, entries[-1] if entries else None)
        yield LockFault(
            wrong=Wrong.STALE,
            message=f"{migration.version}.sql is not in it",
            line=place.line if place else 1,
            source=place.source if place else "",
        )


def _unchained(entries: Sequence[_Entry]) -> Iterator[LockFault]:
    """Tell the first line that stands in the wrong place or does not follow from those above."""
    chain, before = "", ""
    for entry in entries:
        if entry.version < before:
            yield _at(entry, f"{entry.version} belongs above {before}")
            return
        chain, before = _next(chain, entry.version, entry.checksum), entry.version
        if chain != entry.chain:
            yield _at(entry, "its hash does not follow from the lines above: it was merged by hand")
            return


def _at(entry: _Entry, message: str) -> LockFault:
    return LockFault(wrong=Wrong.STALE, message=message, line=entry.line, source=entry.source)
