"""Compare two snapshots: what the files build with what the database has. Pure, no driver.

Each difference is told once, by the object a person would name. What is a part of a missing thing
is not listed beside it, and what one difference makes necessary is not listed as a second one
(see `echoes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from headwater.schema.catalog import (
    ALWAYS,
    BUILT_IN,
    IDENTITY,
    KIND,
    ONLY_IF_BUILT,
    PARENT,
    SCHEMA,
    VALUES,
    Facts,
    Row,
    Snapshot,
)
from headwater.schema.echoes import Differences, tells, without_echoes
from headwater.verdicts import Change, ChangeKind

_PRISTINE_PUBLIC: Final = {
    "owner": "pg_database_owner",
    "grants": "PUBLIC: USAGE; pg_database_owner: ALL",
    "comment": "standard public schema",
}
"""The schema `public` as initdb makes it, since PostgreSQL 15: no file has touched it."""


def compare(expected: Snapshot, actual: Snapshot, *, schemas: Sequence[str]) -> tuple[Change, ...]:
    """Give every difference, in stable order, what belongs to one table side by side.

    In scope are the managed `schemas`, the others that the files build something in, and what
    belongs to the database as a whole; `unmanaged_schemas` names the rest. Catalogues and columns
    that only one of the two servers has, or lets its role read, are not compared.
    """
    scope = _scope(expected, schemas)
    pairs = _pairs(expected, actual)
    mine = _rows(pair[0] for pair in pairs)
    theirs = _rows(pair[1] for pair in pairs)
    rows = {**theirs, **mine}
    # What initdb made is in every database: only its grants are compared.
    built_in = {*_of(expected, BUILT_IN), *_of(actual, BUILT_IN)}
    missing = mine.keys() - theirs.keys() - built_in
    extra = theirs.keys() - mine.keys() - built_in
    found = Differences(
        missing={each for each in missing if _counts(rows[each], scope)},
        extra={each for each in extra if _counts(rows[each], scope, made_by_files=False)},
        changed={
            identity: changes
            for identity, changes in _changed(pairs, missing | extra).items()
            if _counts(rows[identity], scope)
        },
        rows=rows,
        version=min(expected.version, actual.version),
    )
    return tuple(sorted(without_echoes(found), key=lambda change: _order(change, rows)))


def unmanaged_schemas(
    expected: Snapshot, actual: Snapshot, schemas: Sequence[str]
) -> tuple[str, ...]:
    """Name the schemas of the database that are neither managed nor built by the files."""
    return tuple(sorted(_schemas_in_use(actual) - _scope(expected, schemas)))


# --- scope ------------------------------------------------------------------------------------


def _scope(expected: Snapshot, schemas: Sequence[str]) -> frozenset[str]:
    """Give the schemas whose objects count: managed, or built by the files."""
    return ALWAYS | frozenset(schemas) | _schemas_in_use(expected)


def _schemas_in_use(snapshot: Snapshot) -> frozenset[str]:
    """Give the schemas that somebody made, or made something in.

    `public` is in every database: it counts once there is an object in it, or it was changed.
    """
    used = {
        row[SCHEMA]
        for catalog, facts in snapshot.facts.items()
        if catalog not in ("pg_namespace", BUILT_IN)
        for row in facts.rows.values()
    }
    spaces = snapshot.facts.get("pg_namespace")
    if spaces is not None:
        made = {row[SCHEMA] for row in spaces.rows.values()} - {"public"}
        public = spaces.rows.get("schema public")
        touched = public is None or dict(spaces.attributes(public)) != _PRISTINE_PUBLIC
        used |= made | ({"public"} if touched else set())
    return frozenset(schema for schema in used if schema) - ALWAYS


def _counts(row: Row, scope: frozenset[str], *, made_by_files: bool = True) -> bool:
    """Say whether a difference is drift: in scope, and not something that files need not make."""
    return (row[SCHEMA] or "") in scope and (made_by_files or row[KIND] not in ONLY_IF_BUILT)


# --- differences ------------------------------------------------------------------------------


def _pairs(expected: Snapshot, actual: Snapshot) -> list[tuple[Facts, Facts]]:
    """Give what both snapshots say about each catalogue."""
    return [
        (facts, actual.facts[catalog])
        for catalog, facts in expected.facts.items()
        if catalog in actual.facts
    ]


def _of(snapshot: Snapshot, catalog: str) -> Iterable[str]:
    """Give the identities that a catalogue speaks of."""
    facts = snapshot.facts.get(catalog)
    return facts.rows if facts else ()


def _rows(facts: Iterable[Facts]) -> dict[str, Row]:
    """Give one row for each identity; of several, the one that knows its parent."""
    found: dict[str, Row] = {}
    for each in facts:
        for identity, row in each.rows.items():
            if identity not in found or (row[PARENT] and not found[identity][PARENT]):
                found[identity] = row
    return found


def _changed(
    pairs: Iterable[tuple[Facts, Facts]], whole: AbstractSet[str]
) -> dict[str, list[Change]]:
    """Give the attributes that differ, for each object that is not missing or extra as a `whole`.

    A catalogue may speak of an object on one side only: a column that has lost its default.
    """
    changed: dict[str, list[Change]] = {}
    for mine, theirs in pairs:
        for identity in {**mine.rows, **theirs.rows}:
            before, after = mine.rows.get(identity), theirs.rows.get(identity)
            if (before != after or mine.columns != theirs.columns) and identity not in whole:
                changes = [*_attributes(mine, theirs, identity), *_moved(before, after)]
                if changes:
                    changed.setdefault(identity, []).extend(changes)
    return changed


def _attributes(mine: Facts, theirs: Facts, identity: str) -> Iterator[Change]:
    """Compare what one catalogue says of one object, column by column."""
    before, after = _values(mine, theirs, identity), _values(theirs, mine, identity)
    differing = [
        column
        for column, value in before.items()
        if column in after and not _same(column, value, after[column])
    ]
    told = tells(mine.catalog, differing)
    for column in differing:
        if column not in told:
            yield Change(
                object=identity,
                change=ChangeKind.CHANGED,
                attribute=mine.label(column),
                before=mine.word(column, before[column]),
                after=mine.word(column, after[column]),
            )


def _values(facts: Facts, other: Facts, identity: str) -> dict[str, str | None]:
    """Give what a catalogue says of an object, by column; nothing when it does not know it."""
    row = facts.rows.get(identity)
    if row is None:
        return dict.fromkeys(other.columns)
    return dict(zip(facts.columns, row[VALUES:], strict=True))


def _moved(mine: Row | None, theirs: Row | None) -> Iterator[Change]:
    """Tell that an object has become a part of another: a sequence owned by another column."""
    if mine and theirs and mine[PARENT] != theirs[PARENT]:
        yield Change(
            object=str(mine[IDENTITY]),
            change=ChangeKind.CHANGED,
            attribute="owned by" if mine[KIND] == "sequence" else "part of",
            before=mine[PARENT],
            after=theirs[PARENT],
        )


_ITEM: Final = re.compile(r""""(?:[^"]|"")*"|E?'(?:[^']|'')*'|[^\s,]+""")


def _same(column: str, before: str | None, after: str | None) -> bool:
    """Compare two values; of an order only what both sides have, the rest is told by itself."""
    if before == after:
        return True
    if not column.endswith(_ORDERS) or before is None or after is None:
        return False
    mine, theirs = _ITEM.findall(before), _ITEM.findall(after)
    common = set(mine) & set(theirs)
    return [x for x in mine if x in common] == [x for x in theirs if x in common]


_ORDERS: Final = ("column order", "order of values")


# --- reading ----------------------------------------------------------------------------------


def _order(change: Change, rows: Mapping[str, Row]) -> tuple[str, str, bool, str, str]:
    """Sort by schema, then by the outermost object, which comes before its parts."""
    root = change.object
    seen = {root}
    while (row := rows.get(root)) and row[PARENT] and row[PARENT] not in seen:
        root = str(row[PARENT])
        seen.add(root)
    schema = rows[change.object][SCHEMA] or ""
    return schema, root, change.object != root, change.object, change.attribute
