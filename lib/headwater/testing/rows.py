"""Rows for tests: one put into a table, and the whole of it back."""

from __future__ import annotations

import reprlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row
from psycopg.types.json import Json, Jsonb

from headwater.errors import HeadwaterError
from headwater.testing.noted import is_of_a_policy, noted

Connection = psycopg.Connection[Any]


class Row(Mapping[str, Any]):
    """A row of a table: `row.title` and `row["title"]`, equal to any mapping of the same values.

    A column that is called like a method of mappings (`items`, `keys`, `values`, `get`) is reached
    by `row["items"]` alone.
    """

    __slots__ = ("_columns", "_table")

    def __init__(self, table: str, columns: Mapping[str, Any]) -> None:
        self._table = table
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a protocol that somebody asks for, of a row half made perhaps
            raise AttributeError(name)
        if name in self._columns:
            return self._columns[name]
        raise AttributeError(f"{self._table} has no column {name}{_nearest(name, self._columns)}")

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={_short.repr(v)}" for name, v in self._columns.items())
        return f"{self._table}({values})"


# A vector has 768 numbers, a document thousands of words: a line of a failed test shows the start.
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def insert(connection: Connection, table: str, /, **columns: Any) -> Row:
    """Insert one row, and give it as it is now in the table, with defaults and triggers' values.

        document = insert(connection, "kb.documents", organization_id=org.id, title="Rivers")

    `table` is `schema.table`, or a name that the search path finds. A dict, a list, a number or a
    boolean for a `json` or `jsonb` column is written as JSON (a text is taken as JSON that is
    written already); a list for an array as an array, for another type, such as `vector`, in the
    form `[1, 2]`. Without any column the row is all defaults.

    A role that may not read the table gets the columns that it may read, or else those it gave.
    A row that row security takes, and does not give back, is no refusal: HeadwaterError says so.
    (To know, the row is offered a second time, and taken back.) In an open transaction a row that
    is refused leaves the transaction usable.
    Raises HeadwaterError for a table or column that is not there, with the nearest that is; what
    the server refuses comes as the driver's error.
    """
    found = _described(connection, table)
    for name in columns:
        if name not in found.columns:
            raise noted(
                HeadwaterError(
                    f"{table} has no column {name}{_nearest(name, found.columns)}",
                    hint="name a column of the table, or add it in a migration",
                )
            )
    readable = [name for name, column in found.columns.items() if column.readable]
    values = [_adapted(value, found.columns[name]) for name, value in columns.items()]
    try:
        with _usable_after_an_error(connection):
            row = _inserted(connection, _statement(found.name, [*columns], readable), values)
    except psycopg.errors.InsufficientPrivilege as error:
        # RETURNING asks the policies of SELECT as well, and their refusal is the same error: a test
        # that expects it would pass where the row is taken.
        of_a_policy = is_of_a_policy(error)
        if of_a_policy and _is_taken(connection, _statement(found.name, [*columns], []), values):
            raise noted(
                HeadwaterError(
                    f"{table} takes this row, but policies of SELECT hide it: it is not given back",
                    hint="insert reads what it has written; where that is the point, write the "
                    "INSERT yourself, without RETURNING",
                )
            ) from error
        raise
    # A trigger or a rule may have kept the row out.
    if readable and row is None:
        raise noted(
            HeadwaterError(
                f"no row was inserted into {table}: a trigger or a rule of the table kept it out",
                hint="look for a BEFORE trigger that returns NULL, and for a rule DO INSTEAD",
            )
        )
    return Row(table, dict(zip(readable, row, strict=True)) if row else columns)


def _inserted(connection: Connection, statement: sql.Composed, values: list[Any]) -> Any:
    """Run an INSERT, and give the row that it returns, if it returns any."""
    # (Raw, as to the other kinds of cursor a % in a column's name is the start of a placeholder.)
    with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone() if cursor.description else None


@contextmanager
def _usable_after_an_error(connection: Connection) -> Generator[None]:
    """In an open transaction: a savepoint around an INSERT."""
    inside = connection.info.transaction_status is TransactionStatus.INTRANS
    with connection.transaction() if inside and _is_plain(connection) else nullcontext():
        yield


def _is_plain(connection: Connection) -> bool:
    return connection.info.pipeline_status is PipelineStatus.OFF


def _is_taken(connection: Connection, statement: sql.Composed, values: list[Any]) -> bool:
    """Offer a row once more, by an INSERT without RETURNING, and take it back."""
    idle = connection.info.transaction_status is TransactionStatus.IDLE
    inside = connection.info.transaction_status is TransactionStatus.INTRANS
    if not (idle or inside) or not _is_plain(connection):
        return False
    try:
        with connection.transaction(force_rollback=True):
            _inserted(connection, statement, values)
            if idle:  # else rows of others would be asked as well, before their time
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.Error:
        return False
    return True


def _statement(table: sql.Composable, names: list[str], readable: list[str]) -> sql.Composed:
    values = sql.SQL("({}) VALUES ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(sql.SQL("$") + sql.Literal(n) for n in range(1, len(names) + 1)),
    )
    returning = sql.SQL(" RETURNING ") + sql.SQL(", ").join(map(sql.Identifier, readable))
    return sql.SQL("INSERT INTO {} {}{}").format(
        table,
        values if names else sql.SQL("DEFAULT VALUES"),
        returning if readable else sql.SQL(""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column: its type, that of its elements where it is an array, and whether it is readable."""

    type: str
    element: str | None
    readable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table: its name in SQL, and its columns in their order."""

    name: sql.Composable
    columns: Mapping[str, _Column]


_COLUMNS = """
SELECT a.attname, coalesce(base.typname, t.typname), e.typname,
    pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN LATERAL (
    WITH RECURSIVE below(base) AS (
        SELECT t.typbasetype
        UNION ALL
        SELECT d.typbasetype FROM below JOIN pg_catalog.pg_type AS d ON d.oid = below.base
    )
    SELECT b.* FROM below JOIN pg_catalog.pg_type AS b ON b.oid = below.base
     WHERE b.typtype <> 'd'
) AS base ON t.typtype = 'd'
LEFT JOIN pg_catalog.pg_type AS e ON e.oid = coalesce(base.typelem, t.typelem)
    AND coalesce(base.typcategory, t.typcategory) = 'A'
WHERE a.attnum > 0 AND NOT a.attisdropped
    AND a.attrelid = pg_catalog.to_regclass(%s)
ORDER BY a.attnum
"""

_TABLES = """
SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
"""


def _described(connection: Connection, table: str) -> _Table:
    name = sql.Identifier(*table.split(".", 1))
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        rows = cursor.execute(_COLUMNS, [name.as_string(connection)]).fetchall()
        if not rows:
            known = [text for (text,) in cursor.execute(_TABLES)]
            raise noted(
                HeadwaterError(
                    f"there is no table {table}{_nearest(table, known)}",
                    hint="write schema.table; a migration that is not applied has made none",
                )
            )
    return _Table(
        name=name,
        columns={
            column: _Column(type=type_, element=element, readable=readable)
            for column, type_, element, readable in rows
        },
    )


_JSON = {"json": Json, "jsonb": Jsonb}


def _adapted(value: Any, column: _Column) -> Any:
    """Give a value in the form that the driver writes as the column's type."""
    if column.element:
        if isinstance(value, list | tuple):
            return [_as_json(each, column.element) for each in value]
        return value
    if column.type in _JSON:
        return _as_json(value, column.type)
    return str(value) if isinstance(value, list) else value


def _as_json(value: Any, type_: str) -> Any:
    """Wrap for json and jsonb what is neither a text, which is JSON already, nor null."""
    if isinstance(value, dict | list | tuple | int | float) and type_ in _JSON:
        return _JSON[type_](value)
    return value


def _nearest(name: str, known: Iterable[str]) -> str:
    """Give `; the nearest is …`, or nothing where nothing is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; the nearest is {near[0]}" if near else ""
