"""What undoes a migration: `VERSION.down.sql`, in the form of one that is run or linted."""

from __future__ import annotations

from headwater.files.directives import read_header
from headwater.files.text import checksum
from headwater.model import Migration

DOWN = ".down"


def down_of(migration: Migration) -> Migration:
    """Give the down file of a migration as a migration of its own, called `VERSION.down`.

    Raises ValueError when it has none.
    """
    if migration.down is None:
        raise ValueError(f"{migration.version} has no down file")
    return Migration(
        version=migration.version + DOWN,
        text=migration.down,
        checksum=checksum(migration.down),
        directives=read_header(migration.down),
        undoes=migration.version,
    )
