"""One hash of a schema, made on the server: whether it is as it was, without reading it.

    fp-1:18:9f86d081884c7d65…      rule : major version of the server : hash

It is about the managed schemas and what belongs to the database as a whole, and uses only what
PUBLIC may read, so that a role with few rights finds the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from headwater.schema.catalog import ALWAYS, ONLY_IF_BUILT
from headwater.schema.column import Column
from headwater.schema.pins import pin
from headwater.schema.queries import Query, queries
from headwater.schema.scope import Shape
from headwater.schema.snapshot import (
    Plan,
    asked,
    catalog_columns,
    catalogs_in_use,
    read_scope,
)

_RULE: Final = 1

# Of one catalogue, its rows in the order of their identities; null when none of them counts.
_HASHED: Final = sql.SQL(
    "select encode(sha256(convert_to(string_agg(q::text, E'\\n' order by identity collate \"C\"),"
    " 'UTF8')), 'hex') from ({query}) q ({columns})"
    " where coalesce(schema, '') = any (%(schemas)s::text[]) and kind <> all (%(apart)s::text[])"
)


def fingerprint(
    connection: psycopg.Connection[Any], *, history_table: str, schemas: Sequence[str]
) -> str:
    """Give the fingerprint of a database; inside an open transaction, of what that sees.

    Only SELECTs; session settings stay as they were. Raises `TargetError` when a catalogue holds
    something that cannot be read as text.
    """
    with connection.transaction(force_rollback=True):
        pin(connection)
        columns = tuple(
            column._replace(readable=column.public) for column in catalog_columns(connection)
        )
        scope = read_scope(connection, history_table)
        plan = _plan(columns, scope.shape, catalogs_in_use(connection, columns))
        counted = {"schemas": sorted({*ALWAYS, *schemas}), "apart": sorted(ONLY_IF_BUILT)}
        hashes = [
            f"{query.catalog} {' '.join(query.columns)} {found}"
            for query, [found] in asked(
                connection, plan, {**scope.parameters, **counted}, scalar_row
            )
            if found is not None
        ]
    whole = hashlib.sha256("\n".join([*sorted(schemas), *sorted(hashes)]).encode()).hexdigest()
    return f"{prefix(connection)}{whole}"


def prefix(connection: psycopg.Connection[Any]) -> str:
    """Give what a fingerprint begins with: with another one it cannot be compared."""
    return f"fp-{_RULE}:{connection.info.server_version // 10_000}:"


@lru_cache(maxsize=4)
def _plan(columns: tuple[Column, ...], shape: Shape, used: frozenset[str]) -> Plan:
    return tuple((query, _hashed(query).as_bytes(None)) for query in queries(columns, shape, used))


def _hashed(query: Query) -> sql.Composed:
    names = ["identity", "kind", "schema", "parent", *_numbered(query.columns)]
    return _HASHED.format(query=query.text, columns=sql.SQL(", ").join(map(sql.Identifier, names)))


def _numbered(columns: Iterable[str]) -> list[str]:
    return [f"c{number}" for number, _ in enumerate(columns)]
