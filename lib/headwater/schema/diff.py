"""Compare two snapshots: what the files build with what the database has. Pure, no driver.

Each difference is told once, by the object a person would name. What is a part of a missing thing
is not listed beside it, and what one difference makes necessary is not listed as a second one
(see `echoes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from headwater.model import Change, ChangeKind
from headwater.schema.catalog import KIND, PARENT, SCHEMA, VALUES, Facts, Row, Snapshot
from headwater.schema.echoes import Differences, tells, without_echoes

_PRISTINE_PUBLIC: Final = {
    "owner": "pg_database_owner",
    "grants": "PUBLIC: USAGE; pg_database_owner: CREATE, USAGE",
    "comment": "standard public schema",
}
"""The schema `public` as initdb makes it, since PostgreSQL 15: no file has touched it."""

_ALWAYS: Final = frozenset({"", "pg_catalog", "information_schema"})
_ONLY_IF_BUILT: Final = frozenset({"setting", "large object"})
"""Settings of a production database are operation, large objects are data: extra ones are fine."""


def compare(
    expected: Snapshot, actual: Snapshot, *, schemas: Sequence[str]
) -> tuple[Change, ...]:
    """Give every difference, in stable order, what belongs to one table side by side.

    In scope are the managed `schemas`, the others that the files build something in, and what
    belongs to the database as a whole; `unmanaged_schemas` names the rest. Catalogues and columns
    that only one of the two servers has, or lets its role read, are not compared.
    """
    pairs = _pairs(expected, actual)
    mine = _rows(pair[0] for pair in pairs)
    theirs = _rows(pair[1] for pair in pairs)
    found = Differences(
        missing=mine.keys() - theirs.keys(),
        extra=theirs.keys() - mine.keys(),
        changed=_changed(pairs),
        rows={**theirs, **mine},
        version=min(expected.version, actual.version),
    )
    scope = _scope(expected, schemas)
    changes = (
        change
        for change in without_echoes(found)
        if _counts(change, found.rows[change.object], scope)
    )
    return tuple(sorted(changes, key=lambda change: _order(change, found.rows)))


def unmanaged_schemas(
    expected: Snapshot, actual: Snapshot, schemas: Sequence[str]
) -> tuple[str, ...]:
    """Name the schemas of the database that are neither managed nor built by the files."""
    return tuple(sorted(_schemas_in_use(actual) - _scope(expected, schemas)))


def describe(change: Change) -> str:
    """Say a change in one sentence: `column kb.tags.name: missing in the database`."""
    if change.change is ChangeKind.MISSING:
        return f"{change.object}: missing in the database"
    if change.change is ChangeKind.EXTRA:
        return f"{change.object}: in the database, not in the files"
    before, after = _shortened(change.before, change.after)
    return f"{change.object}: {change.attribute} {before} -> {after}"


# --- scope ------------------------------------------------------------------------------------


def _scope(expected: Snapshot, schemas: Sequence[str]) -> frozenset[str]:
    """Give the schemas whose objects count: managed, or built by the files."""
    return _ALWAYS | frozenset(schemas) | _schemas_in_use(expected)


def _schemas_in_use(snapshot: Snapshot) -> frozenset[str]:
    """Give the schemas that somebody made, or made something in.

    `public` is in every database: it counts once there is an object in it, or it was changed.
    """
    used = {
        row[SCHEMA]
        for catalog, facts in snapshot.facts.items()
        if catalog != "pg_namespace"
        for row in facts.rows.values()
    }
    spaces = snapshot.facts.get("pg_namespace")
    if spaces is not None:
        made = {row[SCHEMA] for row in spaces.rows.values()} - {"public"}
        public = spaces.rows.get("schema public")
        touched = public is None or dict(spaces.attributes(public)) != _PRISTINE_PUBLIC
        used |= made | ({"public"} if touched else set())
    return frozenset(schema for schema in used if schema) - _ALWAYS


def _counts(change: Change, row: Row, scope: frozenset[str]) -> bool:
    """Say whether a change is drift: in scope, and not something that files need not make."""
    if change.change is ChangeKind.EXTRA and row[KIND] in _ONLY_IF_BUILT:
        return False
    return (row[SCHEMA] or "") in scope


# --- differences ------------------------------------------------------------------------------


def _pairs(expected: Snapshot, actual: Snapshot) -> list[tuple[Facts, Facts]]:
    """Give what both snapshots say about each catalogue."""
    return [
        (facts, actual.facts[catalog])
        for catalog, facts in expected.facts.items()
        if catalog in actual.facts
    ]


def _rows(facts: Iterable[Facts]) -> dict[str, Row]:
    """Give one row for each identity; of several, the one that knows its parent."""
    found: dict[str, Row] = {}
    for each in facts:
        for identity, row in each.rows.items():
            if identity not in found or (row[PARENT] and not found[identity][PARENT]):
                found[identity] = row
    return found


def _changed(pairs: Iterable[tuple[Facts, Facts]]) -> dict[str, list[Change]]:
    """Give the attributes that differ, for each object that both sides have."""
    changed: dict[str, list[Change]] = {}
    for mine, theirs in pairs:
        for identity, row in mine.rows.items():
            other = theirs.rows.get(identity)
            if other is not None and (row != other or mine.columns != theirs.columns):
                changed.setdefault(identity, []).extend(_attributes(mine, theirs, identity))
    return {identity: changes for identity, changes in changed.items() if changes}


def _attributes(mine: Facts, theirs: Facts, identity: str) -> list[Change]:
    """Compare what one catalogue says of one object, column by column."""
    before = dict(zip(mine.columns, mine.rows[identity][VALUES:], strict=True))
    after = dict(zip(theirs.columns, theirs.rows[identity][VALUES:], strict=True))
    differing = [
        column
        for column, value in before.items()
        if column in after and not _same(column, value, after[column])
    ]
    told = tells(mine.catalog, differing)
    changes = [
        Change(
            object=identity,
            change=ChangeKind.CHANGED,
            attribute=mine.label(column),
            before=mine.word(column, before[column]),
            after=theirs.word(column, after[column]),
        )
        for column in differing
        if column not in told
    ]
    return [*changes, *_moved(mine.rows[identity], theirs.rows[identity])]


def _moved(mine: Row, theirs: Row) -> Iterator[Change]:
    """Tell that an object has become a part of another: a sequence owned by another column."""
    if mine[PARENT] != theirs[PARENT]:
        yield Change(
            object=str(mine[0]),
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


_LONG: Final = 60
_CONTEXT: Final = 20


def _shortened(before: str | None, after: str | None) -> tuple[str, str]:
    """Bring two values on one line each, cut down to where they differ if they are long."""
    mine, theirs = _one_line(before), _one_line(after)
    if max(len(mine), len(theirs)) <= _LONG:
        return mine, theirs
    head = max(0, _common(mine, theirs) - _CONTEXT)
    tail = max(0, _common(mine[head:][::-1], theirs[head:][::-1]) - _CONTEXT)
    return _cut(mine, head, tail), _cut(theirs, head, tail)


def _one_line(value: str | None) -> str:
    return "(none)" if value is None or value == "" else " ".join(value.split())


def _common(mine: str, theirs: str) -> int:
    """Count the characters that two texts begin with alike."""
    pairs = zip(mine, theirs, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(mine), len(theirs)))


def _cut(text: str, head: int, tail: int) -> str:
    """Leave out the first `head` and the last `tail` characters, and whatever is too long."""
    middle = text[head : len(text) - tail]
    long = len(middle) > 2 * _LONG
    return ("…" if head else "") + middle[: 2 * _LONG] + ("…" if tail or long else "")
