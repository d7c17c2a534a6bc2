"""The folder as a whole: files that come too late for a base, and the file of hashes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.checks.rules.folder import (
    EDITED_SINCE_BASE,
    LATE_FILE,
    LOCK_CONFLICT,
    LOCK_MALFORMED,
    LOCK_STALE,
    REMOVED_SINCE_BASE,
    SAME_DAY,
)
from headwater.checks.rules.rule import Rule
from headwater.files.lockfile import LOCK, Wrong, lock_faults
from headwater.model import Finding, Migration, MigrationFolder

if TYPE_CHECKING:
    from headwater.files.git import Base

_RULE_OF: Mapping[Wrong, Rule] = {
    Wrong.CONFLICT: LOCK_CONFLICT,
    Wrong.MALFORMED: LOCK_MALFORMED,
    Wrong.STALE: LOCK_STALE,
}


def lock_findings(folder: MigrationFolder) -> tuple[Finding, ...]:
    """Find where `migrations.lock` is not what the files say; nothing where there is none."""
    return tuple(
        _RULE_OF[fault.wrong].finding(
            file=LOCK,
            line=fault.line,
            column=int(fault.line > 0),
            source=fault.source,
            message=fault.message,
        )
        for fault in lock_faults(folder)
    )


def base_findings(
    folder: MigrationFolder, root: Path, ref: str, *, today: date | None = None
) -> tuple[Finding, ...]:
    """Find what would go wrong where a base, such as `origin/main`, is deployed.

    Files that are new since then and sort before one of it; files of it that were edited, renamed
    or removed. `today` (in UTC) decides what is advised. Raises SettingsError when git cannot say.
    """
    from headwater.files.git import read_base

    base = read_base(root, folder.path, ref)
    place = Path(os.path.relpath(folder.path, root)).as_posix()
    return compare_with_base(folder, base, today or datetime.now(UTC).date(), place)


def compare_with_base(
    folder: MigrationFolder, base: Base, today: date, place: str
) -> tuple[Finding, ...]:
    """Compare a folder with a base: late files first, then what was edited, then what is gone.

    `place` is the folder as somebody types it in the folder of the project.
    """
    held = {*base.tip, *base.fork}
    new = [migration for migration in folder.migrations if migration.version not in held]
    old = [migration for migration in folder.migrations if migration.version in held]
    return (
        *(f for migration in new if (f := _late(migration, base, today))),
        *(f for migration in old if (f := _edited(migration, base, place))),
        *_removed(folder, base, new, place),
    )


def _late(migration: Migration, base: Base, today: date) -> Finding | None:
    """Judge a new file by the base as it is now; only the prefix decides about out of order."""
    newest = max(base.tip, default="")
    if migration.version > newest:
        return None
    newest_prefix = newest.partition("_")[0]
    if migration.prefix < newest_prefix:
        return _about(
            LATE_FILE,
            migration,
            f"{base.ref} holds {newest}, which is newer: migrate would refuse this file there",
            _how_to_be_later(migration, newest_prefix, today),
        )
    return _about(
        SAME_DAY,
        migration,
        f"it sorts before {newest} of the same day, which {base.ref} holds already",
        SAME_DAY.instead.replace("VERSION", migration.version),
    )


def _how_to_be_later(migration: Migration, newest: str, today: date) -> str:
    """Give the command that redates a file, or the name to give it where that would not do."""
    if len(migration.prefix) == 4 and len(newest) == 4:
        number = f"{int(newest) + 1:04}"
        return f"give it the next number: {number}_{migration.description}.sql"
    if len(migration.prefix) == 4:
        return f"give it a date: {today:%Y%m%d}_{migration.description}.sql"
    if newest > f"{today:%Y%m%d}":
        return f"give it a date from {newest} on, by hand: that of the base lies in the future"
    return f"invoke migration.redate {migration.version}"


def _edited(migration: Migration, base: Base, place: str) -> Finding | None:
    """Find a file that is neither as the base holds it now nor as the branch got it."""
    held = {side[migration.version] for side in (base.tip, base.fork) if migration.version in side}
    if migration.checksum in held:
        return None
    name = f"{migration.version}.sql"
    return _about(
        EDITED_SINCE_BASE,
        migration,
        f"{name} is not what {base.ref} holds; an applied file must not change",
        f"git checkout {base.ref} -- {place}/{name}; what is to change: invoke migration.new NAME",
    )


def _removed(
    folder: MigrationFolder, base: Base, new: list[Migration], place: str
) -> Iterator[Finding]:
    """Find what the branch had, the base still has, and the folder has not."""
    for version in sorted(base.tip.keys() & base.fork.keys()):
        name = f"{version}.sql"
        # (One that is there and could not be read has a finding of its own.)
        if os.path.lexists(folder.path / name):
            continue
        now = _renamed_to(version, base, new)
        what = f"was renamed to {now}.sql" if now else "was removed"
        yield replace(
            REMOVED_SINCE_BASE.finding(
                file=name, message=f"{name} {what}; {base.ref} holds it, and an applied file stays"
            ),
            hint=f"git checkout {base.ref} -- {place}/{name}"
            + (f", and remove {now}.sql" if now else "; a new migration undoes what it did"),
        )


def _renamed_to(version: str, base: Base, new: list[Migration]) -> str:
    """Give the new file with the same text, or else with the same description."""
    description = version.partition("_")[2]
    for migration in new:
        if migration.checksum in (base.tip[version], base.fork[version]):
            return migration.version
    return next((m.version for m in new if m.description == description), "")


def _about(rule: Rule, migration: Migration, message: str, hint: str) -> Finding:
    """Give a finding about a file as a whole, at its first line."""
    first = migration.text.partition("\n")[0]
    finding = rule.finding(
        file=f"{migration.version}.sql", line=1, column=1, source=first, message=message
    )
    return replace(finding, hint=hint)
