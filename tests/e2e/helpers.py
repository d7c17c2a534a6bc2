"""What the end-to-end tests share: asking, refusing, and being the application in a project."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from headwater.testing.context import as_application
from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.kb_facts import PRIMARY_KEYS

Connection = psycopg.Connection[Any]


def working_in(connection: Connection, project: Row) -> AbstractContextManager[Connection]:
    """Be the application, for an organization, narrowed to one of its projects."""
    return as_application(connection, organization=project.organization_id, project=project)


def one(connection: Connection, query: str, *parameters: object) -> Any:
    """Give the one value of the one row."""
    [(value,)] = connection.execute(query.encode(), parameters or None).fetchall()
    return value


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


def parents_in(make: Factories, table: str, project: Row) -> dict[str, Any]:
    """Make new parents for a row of a table, all in a project, those that may be null as well."""

    def pack() -> Row:
        found = make.discovery_job(project=project)
        return make.template_pack(source="discovered", discovery_job=found)

    def thing() -> Row:
        return make.graph_object(project=project)

    everyone: dict[str, Any] = {
        "core.user_profiles": dict,
        "core.user_emails": lambda: {"user": make.user()},
        "kb.orgs": dict,
        "kb.projects": lambda: {"organization": project.organization_id},
        "kb.organization_memberships": lambda: {
            "organization": project.organization_id,
            "user": make.user(),
        },
        "kb.project_memberships": lambda: {"project": project, "user": make.user()},
        "kb.documents": lambda: {
            "project": project,
            "parent_document": make.document(project=project),
        },
        "kb.chunks": lambda: {"document": make.document(project=project)},
        "kb.graph_objects": lambda: {"project": project, "branch": make.branch(project=project)},
        "kb.graph_relationships": lambda: {
            "project": project,
            "branch": make.branch(project=project),
            "src": thing(),
            "dst": thing(),
        },
        "kb.graph_template_packs": lambda: {
            "source": "discovered",
            "discovery_job": make.discovery_job(project=project),
            "superseded_by": pack(),
        },
        "kb.project_template_packs": lambda: {
            "project": project,
            "template_pack": pack(),
            "installed_by": make.user(),
        },
        "kb.project_object_type_registry": lambda: {
            "project": project,
            "template_pack": pack(),
            "created_by": make.user(),
        },
        "kb.object_extraction_jobs": lambda: {"project": project, "created_by": make.user()},
        "kb.integrations": lambda: {"project": project, "created_by": make.user()},
        "kb.discovery_jobs": lambda: {"project": project, "template_pack": pack()},
        "kb.discovery_type_candidates": lambda: {"job": make.discovery_job(project=project)},
        "kb.chat_conversations": lambda: {"project": project, "owner_user": make.user()},
        "kb.chat_messages": lambda: {"conversation": make.conversation(project=project)},
        "kb.mcp_tool_calls": lambda: {
            "project": project,
            "conversation": make.conversation(project=project),
        },
        "kb.clickup_sync_state": lambda: {"integration": make.integration(project=project)},
        "kb.tags": lambda: {
            "project": project,
            "product_version": make.product_version(project=project),
        },
        "kb.notifications": lambda: {"project": project, "user": make.user()},
        "kb.audit_log": lambda: {"user": make.user()},
        "kb.branches": lambda: {"project": project, "parent_branch": make.branch(project=project)},
        "kb.branch_lineage": lambda: {
            "branch": make.branch(project=project),
            "ancestor_branch": make.branch(project=project),
        },
        "kb.merge_provenance": lambda: {"child_version": thing(), "parent_version": thing()},
        "kb.product_versions": lambda: {
            "project": project,
            "base_product_version": make.product_version(project=project),
        },
        "kb.product_version_members": lambda: {
            "product_version": make.product_version(project=project),
            "object_canonical": thing(),
        },
        "kb.graph_embedding_jobs": lambda: {"object": thing()},
    }
    return everyone.get(table, lambda: {"project": project})()  # type: ignore[no-any-return]


# What no statement may write: generated always.
_GENERATED = {"kb.graph_objects": {"fts"}, "kb.audit_log": {"id"}}


def drafted(make: Factories, table: str, **columns: Any) -> dict[str, Any]:
    """Give every column of a row as it would be; it is not there. Its parents must be given."""
    with make.connection.transaction(force_rollback=True):
        row = make.one(table, **columns)
    return {n: v for n, v in row.items() if n not in _GENERATED.get(table, set())}
