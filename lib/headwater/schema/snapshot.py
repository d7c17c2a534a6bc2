"""Read the catalogue of a database as data: complete by construction, in a few round trips.

The walk goes over the catalogues themselves. The server says which columns each has and what they
point at (catalogs.sql), `left_out` says what is no part of the schema and why, `identities` how an
object is called, `rendering` how a value becomes text that is the same on every server of the
same schema. Only SELECTs: it works on a standby and with a role that may create nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import RowFactory, class_row, dict_row, scalar_row, tuple_row

from headwater.errors import TargetError
from headwater.schema.catalog import IDENTITY, CatalogObject, Facts, Row, Snapshot
from headwater.schema.column import Column
from headwater.schema.left_out import CATALOGS
from headwater.schema.pins import pin
from headwater.schema.queries import Query, by_catalog, in_use, is_read, queries
from headwater.schema.scope import Scope, Shape

__all__ = ["CatalogObject", "Snapshot", "read_snapshot"]


def read_snapshot(connection: psycopg.Connection[Any], *, history_table: str) -> Snapshot:
    """Read the whole catalogue of a database, but for what `left_out` lists with its reason.

    `history_table` (`public.schema_migrations`) and its journal (`…_steps`) are bookkeeping and
    left out. Every schema is read; a comparison tells those that Headwater manages from the
    others. On an idle connection the reading is one read-only REPEATABLE READ
    transaction; inside an open one it is a part of that. Session settings stay as they were.
    Raises `TargetError` when a catalogue holds something that cannot be read as text.
    """
    idle = connection.info.transaction_status == TransactionStatus.IDLE
    with connection.transaction(force_rollback=True):
        if idle:
            connection.execute("set transaction isolation level repeatable read, read only")
        pin(connection)
        columns = catalog_columns(connection)
        scope = read_scope(connection, history_table)
        facts = {
            catalog: Facts(catalog=catalog, columns=(), rows={})
            for catalog, its_columns in by_catalog(columns).items()
            if is_read(catalog, its_columns)
        }
        facts.update(_read_facts(connection, columns, scope))
    return Snapshot(
        facts=facts,
        version=connection.info.server_version // 10000,
        unreadable=frozenset(_unreadable(columns)),
    )


def _sql(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()


def catalog_columns(connection: psycopg.Connection[Any]) -> list[Column]:
    """Ask the server which columns its catalogues have, and what they point at."""
    cursor = connection.cursor(row_factory=class_row(Column))
    return cursor.execute(_sql("catalogs.sql"), prepare=False).fetchall()


def read_scope(connection: psycopg.Connection[Any], history_table: str) -> Scope:
    """Ask which objects are not the schema, and where there are notes."""
    schema, _, table = history_table.rpartition(".")
    history = {
        "history_schema": schema or "public",
        "history_tables": [table, f"{table}_steps"],
    }
    cursor = connection.cursor(row_factory=dict_row)
    return _scope(cursor.execute(_sql("scope.sql"), history, prepare=False).fetchall()[0])


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
    connection: psycopg.Connection[Any], columns: Sequence[Column], scope: Scope
) -> Iterator[tuple[str, Facts]]:
    """Read every catalogue that holds anything, all in one round trip, keyed by identity."""
    plan = _plan(tuple(columns), scope.shape, catalogs_in_use(connection, columns))
    for query, rows in asked(connection, plan, scope.parameters, tuple_row):
        yield query.catalog, _facts(query, rows)


def catalogs_in_use(
    connection: psycopg.Connection[Any], columns: Sequence[Column]
) -> frozenset[str]:
    """Ask which catalogues hold anything that initdb did not make."""
    used = connection.cursor(row_factory=scalar_row).execute(in_use(columns), prepare=False)
    return frozenset(used.fetchall())


def asked(
    connection: psycopg.Connection[Any],
    plan: Plan,
    parameters: Mapping[str, object],
    row_factory: RowFactory[Any],
) -> Iterator[tuple[Query, list[Any]]]:
    """Send every query of a plan in one round trip; give each with its rows."""
    cursors = [connection.cursor(row_factory=row_factory) for _ in plan]
    with connection.pipeline():
        for (_, text), cursor in zip(plan, cursors, strict=True):
            cursor.execute(text, parameters, prepare=False)
        for (query, _), cursor in zip(plan, cursors, strict=True):
            yield query, cursor.fetchall()


Plan = tuple[tuple[Query, bytes], ...]
"""Queries with the texts that are sent for them."""


@lru_cache(maxsize=8)
def _plan(columns: tuple[Column, ...], shape: Shape, used: frozenset[str]) -> Plan:
    """Put the queries together; two databases of one server mostly need the same ones."""
    return tuple((query, query.text.as_bytes(None)) for query in queries(columns, shape, used))


def _facts(query: Query, rows: Sequence[Row]) -> Facts:
    found = {row[IDENTITY] or "": row for row in rows}
    if len(found) != len(rows) or "" in found:
        raise _ambiguous(query.catalog, rows)
    # A catalogue that all databases share may be asked only for what another one holds: without
    # rows it is as if it had not been asked.
    return Facts(catalog=query.catalog, columns=query.columns if found else (), rows=found)


def _ambiguous(catalog: str, rows: Sequence[Row]) -> TargetError:
    """Say which identity is not one: a second object under it would go unseen."""
    counts = Counter(row[IDENTITY] or "(without a name)" for row in rows)
    return TargetError(
        f"{catalog} has rows that Headwater cannot tell apart",
        detail="\n".join(sorted(counts - Counter(set(counts)))[:10]),
        hint="report it: a snapshot that holds one of them would miss drift",
    )


def _unreadable(columns: Iterable[Column]) -> Iterator[str]:
    """Name the columns that a snapshot should hold and the role may not read."""
    for catalog, its_columns in by_catalog(columns).items():
        if catalog not in CATALOGS:
            yield from (column.path for column in its_columns if not column.readable)
