"""Read the catalogue of a database as data: complete by construction, in two round trips.

The walk goes over the catalogues themselves. The server says which columns each has and what they
point at (catalogs.sql), `left_out` says what is no part of the schema and why, `identities` how an
object is called, `rendering` how a value becomes text that is the same on every server of the
same schema. Only SELECTs: it works on a standby and with a role that may create nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import class_row, dict_row, tuple_row

from headwater.errors import TargetError
from headwater.schema.catalog import CatalogObject, Facts, Row, Snapshot
from headwater.schema.queries import Query, Scope, by_catalog, is_read, queries
from headwater.schema.left_out import CATALOGS
from headwater.schema.rendering import Column

__all__ = ["CatalogObject", "Snapshot", "read_snapshot"]

_PINS: Final[dict[str, LiteralString]] = {
    # What the server writes of expressions depends on all of these (museum, item 94).
    "search_path": "pg_catalog, pg_temp",
    "quote_all_identifiers": "off",
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    # Compiling queries that run for milliseconds takes longer than running them.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}
_PIN: Final = "select set_config(name, value, true) from unnest(%s::text[], %s::text[]) p (name, value)"


def read_snapshot(
    connection: psycopg.Connection[Any], *, schemas: Sequence[str], history_table: str
) -> Snapshot:
    """Read the whole catalogue of a database, but for what `left_out` lists with its reason.

    `history_table` (`public.schema_migrations`) and its journal (`…_steps`) are bookkeeping and
    left out. `schemas` are those that Headwater manages; all others are read as well, a comparison
    tells them apart. On an idle connection the reading is one read-only REPEATABLE READ
    transaction; inside an open one it is a part of that. Session settings stay as they were.
    Raises `TargetError` when a catalogue holds something that cannot be read as text.
    """
    del schemas  # all are read: what is not managed is told apart, and named, by the comparison
    idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with connection.transaction(force_rollback=True):
        if idle:
            connection.execute("set transaction isolation level repeatable read, read only")
        _pin(connection)
        columns, scope = _read_plan(connection, history_table)
        facts = _read_facts(connection, tuple(queries(columns, scope)), scope)
    return Snapshot(
        facts=facts,
        version=connection.info.server_version // 10000,
        unreadable=frozenset(_unreadable(columns)),
    )


def _pin(connection: psycopg.Connection[Any]) -> None:
    connection.execute(_PIN, (list(_PINS), list(_PINS.values())), prepare=False)


def _sql(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()


def _read_plan(
    connection: psycopg.Connection[Any], history_table: str
) -> tuple[list[Column], Scope]:
    """Ask the server what its catalogues look like, and which objects are not the schema."""
    schema, _, table = history_table.rpartition(".")
    history = {
        "history_schema": schema or "public",
        "history_tables": [table, f"{table}_steps"],
    }
    with connection.pipeline():
        columns = connection.cursor(row_factory=class_row(Column))
        columns.execute(_sql("catalogs.sql"), prepare=False)
        scope = connection.cursor(row_factory=dict_row)
        scope.execute(_sql("scope.sql"), history, prepare=False)
        found = scope.fetchone()
        assert found is not None
        return columns.fetchall(), _scope(found)


def _scope(row: dict[str, Any]) -> Scope:
    return Scope(
        database=row["database"],
        owner=row["owner"],
        hidden_schemas=row["hidden_schemas"],
        outside=row["outside"] or {},
        commented=frozenset(row["commented"]),
        labelled=frozenset(row["labelled"]),
        bound=frozenset(row["bound"]),
    )


def _read_facts(
    connection: psycopg.Connection[Any], plan: Sequence[Query], scope: Scope
) -> dict[str, Facts]:
    """Run all queries in one round trip, and key what they give by identity."""
    cursors = []
    with connection.pipeline():
        for query in plan:
            cursor = connection.cursor(row_factory=tuple_row)
            cursors.append(cursor.execute(query.text, scope.parameters, prepare=False))
        return {
            query.catalog: _facts(query, cursor.fetchall())
            for query, cursor in zip(plan, cursors, strict=True)
        }


def _facts(query: Query, rows: Sequence[Row]) -> Facts:
    found = {str(row[0]): row for row in rows}
    if len(found) != len(rows):
        raise _ambiguous(query.catalog, rows)
    return Facts(query.catalog, query.columns, found)


def _ambiguous(catalog: str, rows: Sequence[Row]) -> TargetError:
    """Say which identity is not one: a second object under it would go unseen."""
    seen: set[str | None] = set()
    twice = sorted({str(row[0]) for row in rows if row[0] in seen or seen.add(row[0])})
    return TargetError(
        f"two objects of {catalog} have one identity",
        detail="\n".join(twice[:10]),
        hint="report it: a snapshot that holds one of them would miss drift",
    )


def _unreadable(columns: Iterable[Column]) -> Iterable[str]:
    """Name the columns that the role may not read and a snapshot would hold."""
    for catalog, its_columns in by_catalog(columns).items():
        if catalog in CATALOGS or (its_columns[0].shared and not is_read(catalog, its_columns)):
            continue
        yield from (column.path for column in its_columns if not column.readable)
