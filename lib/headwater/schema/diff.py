"""Compare two snapshots: what the files build with what the database has. Pure, no driver.

Each difference is told once, by the object a person would name. What is a part of a missing thing
is not listed beside it, and what a definition says is not repeated attribute by attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from headwater.model import Change, ChangeKind
from headwater.schema.catalog import IDENTITY, KIND, PARENT, SCHEMA, VALUES, Facts, Row, Snapshot
from headwater.schema.echoes import without_echoes

Differences = dict[str, list[Change]]
"""Identity -> its changes."""


def compare(
    expected: Snapshot, actual: Snapshot, *, schemas: Sequence[str]
) -> tuple[Change, ...]:
    """Give every difference, in stable order, what belongs to one table side by side.

    In scope are the managed `schemas`, the others that the files build something in, and what
    belongs to the database as a whole; `unmanaged_schemas` names the rest. Database settings and
    large objects count only where the files make them: otherwise they are operation and data.
    """
    scope = _scope(expected, schemas)
    pairs = _paired(expected, actual)
    found: Differences = {}
    for mine, theirs in pairs:
        for change in _compare_facts(mine, theirs):
            found.setdefault(change.object, []).append(change)
    whole = _whole_objects(pairs)
    rows = {**_rows(theirs for _, theirs in pairs), **_rows(mine for mine, _ in pairs)}
    changes = {
        identity: [*whole.get(identity, ()), *(() if identity in whole else details)]
        for identity, details in {**dict.fromkeys(whole, []), **found}.items()
        if _in_scope(rows[identity], whole.get(identity), scope, expected)
    }
    versions = min(expected.version, actual.version)
    kept = without_echoes(changes, rows, expected, actual, oldest=versions)
    return tuple(sorted(kept, key=lambda change: _order(change, rows)))


def unmanaged_schemas(
    expected: Snapshot, actual: Snapshot, schemas: Sequence[str]
) -> tuple[str, ...]:
    """Name the schemas of the database that are neither managed nor built by the files."""
    scope = _scope(expected, schemas)
    return tuple(sorted(_schemas_in_use(actual) - scope))


def describe(change: Change) -> str:
    """Say a change in one sentence: `column kb.tags.name: missing in the database`."""
    match change.change:
        case ChangeKind.MISSING:
            return f"{change.object}: missing in the database"
        case ChangeKind.EXTRA:
            return f"{change.object}: in the database, not in the files"
    before, after = _shortened(change.before, change.after)
    return f"{change.object}: {change.attribute} {before} -> {after}"
