"""What a snapshot is: the rows of the catalogues as text, keyed by identities people can read.

Nothing here knows a driver; `snapshot` fills it, `diff` compares it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from headwater.schema.words import CODES, LABELS

Row = tuple[str | None, ...]
"""Identity, kind, schema, parent, then one value for each of `Facts.columns`."""

IDENTITY, KIND, SCHEMA, PARENT, VALUES = range(5)

_RELATIONS: Final = ("foreign table ", "materialized view ", "table ", "view ")


def relation_of(row: Row) -> str:
    """Give the name of the relation that a row is a part of, without its kind; else nothing."""
    parent = row[PARENT] or ""
    return next((parent.removeprefix(kind) for kind in _RELATIONS if parent.startswith(kind)), "")


BUILT_IN: Final = "built in"
"""The facts about what initdb made: only where they are not as initdb left them."""

ALWAYS: Final = frozenset({"", "pg_catalog", "information_schema"})
"""The schemas that are looked at whatever is managed; "" is of what belongs to none."""

ONLY_IF_BUILT: Final = frozenset({"setting", "large object"})
"""Settings of a production database are operation, large objects are data: extra ones are fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one catalogue says: `rows` by identity, `columns` naming what follows `PARENT`."""

    catalog: str
    columns: tuple[str, ...]
    rows: Mapping[str, Row]

    def label(self, column: str) -> str:
        """Give the name of a column for people: `not null` for `attnotnull`."""
        return LABELS.get(f"{self.catalog}.{column}", column)

    def word(self, column: str, value: str | None) -> str | None:
        """Give a value for people: `extended` for the storage `x`."""
        codes = CODES.get(f"{self.catalog}.{column}")
        return codes.get(value, value) if codes and value is not None else value

    def attributes(self, row: Row) -> Iterator[tuple[str, str]]:
        """Give label and value of everything that is set in a row."""
        for column, value in zip(self.columns, row[VALUES:], strict=True):
            word = self.word(column, value)
            if word is not None:
                yield self.label(column), word


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogObject:
    """One object of a database: `identity` is `kind` and name, such as `column kb.tags.name`.

    `schema` is empty for what belongs to the database as a whole; `parent` is the identity of
    the object that it is a part of, if any.
    """

    kind: str
    identity: str
    schema: str
    parent: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class Snapshot:
    """The catalogue of a database as data, independent of oids, sessions and creation order.

    `version` is the server's major version. `unreadable` names the `catalogue.column`s that the
    role may not read; a comparison leaves them out.
    """

    facts: Mapping[str, Facts]
    version: int
    unreadable: frozenset[str] = frozenset()

    @cached_property
    def objects(self) -> Mapping[str, CatalogObject]:
        """Give every object by identity, what several catalogues say of it in one place."""
        found: dict[str, CatalogObject] = {}
        for facts in self.facts.values():
            for identity, row in facts.rows.items():
                known = found.get(identity)
                attributes = dict(known.attributes) if known else {}
                attributes.update(facts.attributes(row))
                found[identity] = CatalogObject(
                    kind=row[KIND] or "",
                    identity=identity,
                    schema=row[SCHEMA] or "",
                    parent=(known.parent if known else "") or row[PARENT] or "",
                    attributes=attributes,
                )
        return found


# --- as JSON ----------------------------------------------------------------------------------


def snapshot_to_form(snapshot: Snapshot) -> dict[str, Any]:
    """Give a snapshot in a form that JSON can hold."""
    return {
        "version": snapshot.version,
        "unreadable": sorted(snapshot.unreadable),
        "facts": {
            catalog: {"columns": facts.columns, "rows": list(facts.rows.values())}
            for catalog, facts in snapshot.facts.items()
        },
    }


def snapshot_of_form(form: Any) -> Snapshot | None:
    """Give the snapshot again; None when the form is another one."""
    try:
        return Snapshot(
            version=int(form["version"]),
            unreadable=frozenset(form["unreadable"]),
            facts={
                catalog: Facts(
                    catalog=catalog,
                    columns=tuple(facts["columns"]),
                    rows={row[IDENTITY]: tuple(row) for row in facts["rows"]},
                )
                for catalog, facts in form["facts"].items()
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None
