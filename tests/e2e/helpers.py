"""What the end-to-end tests share: asking, refusing, and being the application in a project."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from headwater.testing.context import as_application
from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.kb_facts import PRIMARY_KEYS, keys_of

Connection = psycopg.Connection[Any]

# No session waits for longer than that: with a lock it would be until the other one is done.
PATIENCE = "5s"


def working_in(connection: Connection, project: Row) -> AbstractContextManager[Connection]:
    """Be the application, for an organization, narrowed to one of its projects."""
    return as_application(connection, organization=project.organization_id, project=project)


@contextmanager
def sessions_in(database: Any, project: Row, number: int = 2) -> Generator[list[Connection]]:
    """Open sessions that are the application in a project, none of which waits long for a lock."""
    with ExitStack() as opened:
        found = []
        for _ in range(number):
            session = opened.enter_context(database.connect())
            session.execute(sql.SQL("set lock_timeout = {}").format(PATIENCE))
            found.append(opened.enter_context(working_in(session, project)))
        yield found


def one(connection: Connection, query: str, *parameters: object) -> Any:
    """Give the one value of the one row."""
    [(value,)] = connection.execute(query.encode(), parameters or None).fetchall()
    return value


def plan_of(connection: Connection, query: str, *parameters: object) -> str:
    """Give the plan of a query with its expressions, in which a function is seen if it stays."""
    explained = connection.execute(f"explain verbose {query}".encode(), parameters or None)
    return "\n".join(line for (line,) in explained)


def count(connection: Connection, table: str, **columns: object) -> int:
    """Count the rows of a table with these values, as whoever the connection is."""
    query = sql.SQL("select count(*) from {} where {}").format(
        sql.Identifier(*table.split(".")), _matching(columns)
    )
    [(found,)] = connection.execute(query).fetchall()
    return int(found)


def again(connection: Connection, row: Row) -> Row:
    """Give a row as it is now; it must be there."""
    [found] = read(connection, table_of(row), **key_of(row))
    return found


def gone(connection: Connection, row: Row) -> bool:
    return read(connection, table_of(row), **key_of(row)) == []


def read(connection: Connection, table: str, **columns: object) -> list[Row]:
    """Give the rows of a table with these values."""
    query = sql.SQL("select * from {} where {}").format(
        sql.Identifier(*table.split(".")), _matching(columns)
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        return [Row(table, found) for found in cursor.execute(query)]


def change(connection: Connection, row: Row, **columns: object) -> Row:
    """Update a row, and give it as it is then; it must be there."""
    query = sql.SQL("update {} set {} where {} returning *").format(
        sql.Identifier(*table_of(row).split(".")),
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), _value(value))
            for name, value in columns.items()
        ),
        _matching(key_of(row)),
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        [changed] = cursor.execute(query).fetchall()
    return Row(table_of(row), changed)


def delete(connection: Connection, row: Row) -> None:
    """Delete a row; it must be there."""
    query = sql.SQL("delete from {} where {}").format(
        sql.Identifier(*table_of(row).split(".")), _matching(key_of(row))
    )
    assert connection.execute(query).rowcount == 1


def table_of(row: Row) -> str:
    return row._table


def key_of(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in PRIMARY_KEYS.get(table_of(row), ["id"])}


def _matching(columns: dict[str, Any]) -> sql.Composable:
    conditions = [
        sql.SQL("{} is not distinct from {}").format(sql.Identifier(name), _value(value))
        if value is None
        else sql.SQL("{} = {}").format(sql.Identifier(name), _value(value))
        for name, value in columns.items()
    ]
    return sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true")


def _value(value: object) -> sql.Composable:
    return value if isinstance(value, sql.Composable) else sql.Literal(value)


@contextmanager
def refused(
    connection: Connection, error: type[psycopg.Error], constraint: str = ""
) -> Generator[pytest.ExceptionInfo[Any]]:
    """Assert that the body fails so, by the constraint of that name; the transaction goes on."""
    with pytest.raises(error) as caught, connection.transaction():
        yield caught
    assert constraint in (caught.value.diag.constraint_name or "")


# --- a row of any table, in a project -----------------------------------------------------------


# Columns that name a row of the graph without a foreign key, on purpose.
_WITHOUT_KEY = {
    "kb.graph_relationships": ("src_id", "dst_id"),
    "kb.merge_provenance": ("child_version_id", "parent_version_id"),
    "kb.product_version_members": ("object_canonical_id",),
}


def parents_in(make: Factories, table: str, project: Row) -> dict[str, Any]:
    """Make new parents for a row of a table, all in a project, those that may be null as well."""
    parents = {column: key.parent for column, key in keys_of(table).items()}
    parents |= dict.fromkeys(_WITHOUT_KEY.get(table, ()), "kb.graph_objects")
    columns = {column: parent_in(make, parent, project) for column, parent in parents.items()}
    # Of a pack only its discovery says whose it is.
    return columns | ({"source": "discovered"} if table == "kb.graph_template_packs" else {})


def parent_in(make: Factories, table: str, project: Row) -> UUID:
    """Make a row to be named by another one, in a project, and give its id."""
    if table == "kb.projects":
        return project.id  # type: ignore[no-any-return]
    if table == "kb.orgs":
        return project.organization_id  # type: ignore[no-any-return]
    columns: dict[str, Any] = {"project": project}
    if table == "core.user_profiles":
        columns = {}
    if table == "kb.graph_template_packs":
        columns = {"source": "discovered", "discovery_job": make.discovery_job(project=project)}
    return make.one(table, **columns).id  # type: ignore[no-any-return]


# What no statement may write: generated always.
_GENERATED = {"kb.graph_objects": {"fts"}, "kb.audit_log": {"id"}}


def drafted(make: Factories, table: str, **columns: Any) -> dict[str, Any]:
    """Give every column of a row as it would be; it is not there. Its parents must be given."""
    with make.connection.transaction(force_rollback=True):
        row = make.one(table, **columns)
    return {n: v for n, v in row.items() if n not in _GENERATED.get(table, set())}
