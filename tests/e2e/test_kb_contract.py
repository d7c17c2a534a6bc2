"""What holds of every table, and of every rule, over the TABLES and RULES of all areas.

An area is a `test_kb_*.py` that has RULES. Nothing of the schema is left out of them.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg.errors import ForeignKeyViolation, NotNullViolation, RestrictViolation

from headwater.testing.rows import Row, insert
from tests.e2e.factories import METHODS, Factories
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
from tests.e2e.rules import Rule, Values, acting
from tests.kb_facts import NAMES, columns_of, keys_of, may

HERE = Path(__file__)
MODULES = [
    importlib.import_module(f"tests.e2e.{path.stem}")
    for path in sorted(HERE.parent.glob("test_kb_*.py"))
    if path != HERE
]
AREAS = [module for module in MODULES if hasattr(module, "RULES")]
TABLES: list[str] = [table for area in AREAS for table in area.TABLES]
RULES: list[Rule] = [rule for area in AREAS for rule in area.RULES]
KEYS = [(table, column) for table in TABLES for column in keys_of(table)]

# Checks, and unique indexes, but for keys that another key makes unique already: those are there
# to be referred to, and nothing can break them alone.
CONSTRAINTS = """
select conname::text from pg_constraint k join pg_class c on c.oid = k.conrelid
where k.contype = 'c' and c.relnamespace in ('kb'::regnamespace, 'core'::regnamespace)
union
select i.relname::text from pg_index x join pg_class i on i.oid = x.indexrelid
where i.relnamespace in ('kb'::regnamespace, 'core'::regnamespace)
    and x.indisunique and not x.indisprimary
    and not exists (
        select from pg_index p
        where p.indrelid = x.indrelid and p.indisprimary
            and p.indkey::int2[] <@ x.indkey::int2[]
    )
"""


def test_each_table_has_a_factory_and_is_in_one_area() -> None:
    assert set(METHODS) == set(NAMES), "METHODS is in tests/e2e/factories.py"
    assert Counter(TABLES) == Counter(NAMES), "TABLES is in the test_kb_*.py of an area"


def test_each_rule_of_values_is_tried(db: Connection) -> None:
    assert {rule.constraint for rule in RULES} == {name for (name,) in db.execute(CONSTRAINTS)}


def test_each_rule_is_tried_from_both_sides() -> None:
    """A unique key tries both by itself: the same again, and another value in each column."""
    for rule in RULES:
        tried = (rule.takes, rule.refuses) if isinstance(rule, Values) else (rule.columns,)
        assert all(tried), rule.constraint


# --- every rule ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_takes_what_fits_and_refuses_what_does_not(
    make: Factories, project: Row, elsewhere: Row, rule: Rule
) -> None:
    rule.hold(make, project, elsewhere)


# --- every table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_the_application_writes_reads_and_changes_a_row(
    make: Factories, project: Row, table: str
) -> None:
    """What it may not do, the owner does."""
    db, organization_id = make.connection, project.organization_id
    if table == "kb.orgs":
        row = again(db, Row("kb.orgs", {"id": organization_id}))
    else:
        parents = parents_in(make, table, project)
        with acting(db, "insert", table, organization_id):
            made = make.one(table, **parents)
        # (Of the audit log the application does not even read what it wrote.)
        row = made if may("select", table) else read(db, table, **made)[0]
    with acting(db, "select", table, organization_id):
        assert read(db, table, **key_of(row)) == [row]
    with acting(db, "update", table, organization_id):
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


@pytest.mark.parametrize("table", TABLES)
def test_what_must_be_there_is_refused_when_it_is_not(
    make: Factories, project: Row, table: str
) -> None:
    """And what may be missing may be, all at once."""
    db, columns = make.connection, columns_of(table)
    row = drafted(make, table, **parents_in(make, table, project))
    needed = [
        name for name, column in columns.items() if column.not_null and (table, name) not in KEPT
    ]
    assert needed
    for name in needed:
        with refused(db, NotNullViolation) as error:
            insert(db, table, **(row | {name: None}))
        assert error.value.diag.column_name == name
    missing = dict.fromkeys(row.keys() - set(needed))
    assert insert(db, table, **(row | missing))


@pytest.mark.parametrize(("table", "column"), KEYS, ids=map(".".join, KEYS))
def test_a_parent_that_is_not_there_is_refused(
    make: Factories, project: Row, table: str, column: str
) -> None:
    """Even to the owner, whom no policy holds."""
    row = drafted(make, table, **parents_in(make, table, project))
    with refused(make.connection, ForeignKeyViolation) as error:
        insert(make.connection, table, **(row | {column: uuid4()}))
    assert error.value.diag.table_name == table.partition(".")[2]


@pytest.mark.parametrize(("table", "column"), KEYS, ids=map(".".join, KEYS))
def test_deleting_a_parent_does_what_the_key_says(
    make: Factories, project: Row, table: str, column: str
) -> None:
    """Cascade, set null in that one column, or restrict; by the application where it may delete."""
    db, key = make.connection, keys_of(table)[column]
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
