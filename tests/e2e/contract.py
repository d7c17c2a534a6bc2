"""What holds of every table, tried by the file of each area over its TABLES and RULES.

A file takes the tests by importing them; `conftest.py` gives them their tables, rules and keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from psycopg.errors import (
    CheckViolation,
    NotNullViolation,
    RestrictViolation,
    UniqueViolation,
)

from headwater.testing.context import as_application
from headwater.testing.rows import Row, insert
from tests.e2e.factories import Factories, named
from tests.e2e.helpers import (
    Connection,
    again,
    change,
    delete,
    drafted,
    gone,
    key_of,
    parents_in,
    read,
    refused,
)
from tests.kb_facts import CLOSED_SETS, columns_of, keys_of, may

__all__ = [
    "Unique",
    "Values",
    "closed_sets",
    "test_a_rule_takes_what_fits_and_refuses_what_does_not",
    "test_deleting_a_parent_does_what_the_key_says",
    "test_the_application_writes_reads_and_changes_a_row",
    "test_what_must_be_there_is_refused_when_it_is_not",
]


def acting(
    connection: Connection, command: str, table: str, organization_id: Any
) -> AbstractContextManager[Any]:
    """Be the application where it may do that, else stay the owner."""
    if may(command, table):
        return as_application(connection, organization=organization_id)
    return nullcontext()


# --- the rules of values -------------------------------------------------------------------------


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
        again = self._row(make, home) | same
        with (
            refused(db, UniqueViolation, self.constraint),
            acting(db, "insert", self.table, home.organization_id),
        ):
            make.one(self.table, **again)
        for name in self.columns:
            self._differ(make, same, name, home, elsewhere)
        for values in self.free:
            with (
                db.transaction(force_rollback=True),
                acting(db, "insert", self.table, home.organization_id),
            ):
                make.one(self.table, **{**again, **values})

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


def test_a_rule_takes_what_fits_and_refuses_what_does_not(
    make: Factories, project: Row, elsewhere: Row, area_rule: Rule
) -> None:
    area_rule.hold(make, project, elsewhere)


# --- every table ---------------------------------------------------------------------------------


def test_the_application_writes_reads_and_changes_a_row(
    make: Factories, project: Row, area_table: str
) -> None:
    """What it may not do, the owner does."""
    db, organization_id = make.connection, project.organization_id
    if area_table == "kb.orgs":
        row = again(db, Row("kb.orgs", {"id": organization_id}))
    else:
        parents = parents_in(make, area_table, project)
        with acting(db, "insert", area_table, organization_id):
            made = make.one(area_table, **parents)
        # (Of the audit log the application does not even read what it wrote.)
        row = made if may("select", area_table) else read(db, area_table, **made)[0]
    with acting(db, "select", area_table, organization_id):
        assert read(db, area_table, **key_of(row)) == [row]
    with acting(db, "update", area_table, organization_id):
        changed = change(db, row, created_at="2020-02-02T00:00:00Z")
    assert changed.created_at.year == 2020
    unchanged = changed.keys() - {"created_at", "updated_at"}
    assert {n: changed[n] for n in unchanged} == {n: row[n] for n in unchanged}
    if "updated_at" in row:
        assert_updated_at_is_kept(db, row, changed)


def assert_updated_at_is_kept(db: Connection, row: Row, changed: Row) -> None:
    """Two updates in one transaction are two moments, and no client sets the time."""
    forged = change(db, row, updated_at="2000-01-01T00:00:00Z")
    [(now,)] = db.execute("select now()")
    assert row.updated_at == now < changed.updated_at < forged.updated_at


# What is kept by the database whatever is sent: by a trigger, or as an identity.
KEPT = {("kb.documents", "content_hash"), ("kb.audit_log", "id")}


def test_what_must_be_there_is_refused_when_it_is_not(
    make: Factories, project: Row, area_table: str
) -> None:
    """And what may be missing may be, all at once."""
    db, columns = make.connection, columns_of(area_table)
    row = drafted(make, area_table, **parents_in(make, area_table, project))
    needed = [
        name
        for name, column in columns.items()
        if column.not_null and (area_table, name) not in KEPT
    ]
    assert needed
    for name in needed:
        with refused(db, NotNullViolation) as error:
            insert(db, area_table, **(row | {name: None}))
        assert error.value.diag.column_name == name
    missing = dict.fromkeys(row.keys() - set(needed))
    assert insert(db, area_table, **(row | missing))


def test_deleting_a_parent_does_what_the_key_says(
    make: Factories, project: Row, area_key: tuple[str, str]
) -> None:
    """Cascade, set null in that one column, or restrict; by the application where it may delete."""
    (table, column), db = area_key, make.connection
    key = keys_of(table)[column]
    row = make.one(table, **parents_in(make, table, project))
    parent = Row(key.parent, {"id": row[column]})
    if key.on_delete == "R":
        with refused(db, RestrictViolation), deleting(db, parent, project):
            delete(db, parent)
        assert again(db, row) == row
        return
    with deleting(db, parent, project):
        delete(db, parent)
    if key.on_delete == "C":
        assert gone(db, row)
        return
    left, touched = again(db, row), {column, "updated_at"}
    assert left[column] is None
    assert without(left, touched) == without(row, touched)


def deleting(db: Connection, parent: Row, project: Row) -> AbstractContextManager[Any]:
    return acting(db, "delete", parent._table, project.organization_id)


def without(row: Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in set(names)}
