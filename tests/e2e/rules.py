"""Rules of values, as the area of a table states them in its RULES: checks and unique keys."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from psycopg.errors import (
    CheckViolation,
    UniqueViolation,
)

from headwater.testing.context import as_application
from headwater.testing.rows import Row
from tests.e2e.factories import Factories, named
from tests.e2e.helpers import (
    Connection,
    parents_in,
    refused,
)
from tests.kb_facts import CLOSED_SETS, may


def acting(
    connection: Connection, command: str, table: str, organization_id: Any
) -> AbstractContextManager[Any]:
    """Be the application where it may do that, else stay the owner."""
    if may(command, table):
        return as_application(connection, organization=organization_id)
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """A check: columns that it takes, and columns that it refuses to the application."""

    table: str
    constraint: str
    takes: tuple[dict[str, Any], ...]
    refuses: tuple[dict[str, Any], ...]
    by_owner: bool = False

    def __str__(self) -> str:
        return self.constraint

    def hold(self, make: Factories, home: Row, _elsewhere: Row) -> None:
        """Insert each as the application, where it inserts at all."""
        db = make.connection
        for values in (*self.takes, *self.refuses):
            row = named(parents_in(make, self.table, home)) | named(values)
            refusal = refused(db, CheckViolation, self.constraint)
            with (
                db.transaction(force_rollback=True),
                refusal if values in self.refuses else nullcontext(),
                nullcontext() if self.by_owner else self._acting(db, home),
            ):
                make.one(self.table, **row)

    def _acting(self, db: Connection, home: Row) -> AbstractContextManager[Any]:
        return acting(db, "insert", self.table, home.organization_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """A unique key: two rows may not be equal in all columns, and may be in all but one.

    `folded` columns are equal whatever their case. `given` is what both rows have, so that the
    key holds for them; with one of `free` the second row is not held by it. `other` is what a row
    has that differs, where a factory would make no other value by itself.
    """

    table: str
    constraint: str
    columns: tuple[str, ...]
    folded: frozenset[str] = frozenset()
    given: tuple[tuple[str, Any], ...] = ()
    free: tuple[dict[str, Any], ...] = ()
    other: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return self.constraint

    def hold(self, make: Factories, home: Row, elsewhere: Row) -> None:
        """Insert a first row, the same again, and one for each column in which it may differ."""
        db = make.connection
        first = make.one(self.table, **self._row(make, home))
        same = {name: self._equal(name, first[name]) for name in self.columns}
        copy = self._row(make, home) | same
        with (
            refused(db, UniqueViolation, self.constraint),
            acting(db, "insert", self.table, home.organization_id),
        ):
            make.one(self.table, **copy)
        for name in self.columns:
            self._differ(make, same, name, home, elsewhere)
        for values in self.free:
            with (
                db.transaction(force_rollback=True),
                acting(db, "insert", self.table, home.organization_id),
            ):
                make.one(self.table, **{**copy, **values})

    def _differ(
        self, make: Factories, same: dict[str, Any], name: str, home: Row, elsewhere: Row
    ) -> None:
        """Insert a row that differs in one column alone."""
        db = make.connection
        place = elsewhere if name == "project_id" else home
        if name == "organization_id":
            place = make.project()
        differs = {of: value for of, value in self.other if of == name}
        fresh = self._row(make, place) | {n: v for n, v in same.items() if n != name} | differs
        with (
            db.transaction(force_rollback=True),
            acting(db, "insert", self.table, place.organization_id),
        ):
            make.one(self.table, **fresh)

    def _row(self, make: Factories, place: Row) -> dict[str, Any]:
        return named(parents_in(make, self.table, place)) | named(dict(self.given))

    def _equal(self, name: str, value: Any) -> Any:
        return value.upper() if name in self.folded else value


Rule = Values | Unique


def closed_sets(*tables: str) -> tuple[Values, ...]:
    """Give a rule for each closed set of tables: each of its words, and some that are none."""
    return tuple(
        Values(
            table=f"kb.{table}",
            constraint=f"{table}_{name}_check",
            takes=tuple({name: word} for word in words.split()),
            refuses=({name: "no such word"}, {name: words.split()[0].upper()}, {name: ""}),
        )
        for (table, name), words in ((key.split("."), w) for key, w in CLOSED_SETS.items())
        if f"kb.{table}" in tables
    )
