"""Tell a real difference of two expressions from one that a dump and a reload made.

The server writes `status = ANY (ARRAY['a', 'b'])` of a varchar column with casts around the array;
read back, the casts end up inside it. Both texts mean the same tree once each was parsed again,
so that is what is done here, on a database that the files have built, in a transaction that is
rolled back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import psycopg
from psycopg import sql

from headwater.schema.catalog import Snapshot
from headwater.schema.pins import pin
from headwater.verdicts import Change, ChangeKind

_CREATE_VIEW: Final = sql.SQL("create view pg_temp.headwater_reparsed as {}")
_READ_VIEW: Final = "select pg_get_viewdef('pg_temp.headwater_reparsed'::regclass)"

_CHECK: Final = re.compile(r"CHECK \((.*)\)((?: NO INHERIT| NOT VALID| NOT ENFORCED)*)", re.DOTALL)


def reparsed(
    connection: psycopg.Connection[Any], changes: Iterable[Change], expected: Snapshot
) -> tuple[Change, ...]:
    """Leave out the changes whose two expressions are one and the same after being parsed again.

    `connection` is one to a scratch database with what the files build (`expected`); nothing is
    left behind in it. What cannot be parsed there, because it names what only the other database
    has, stays a change.
    """
    with connection.transaction(force_rollback=True):
        pin(connection)
        return tuple(
            change for change in changes if not _is_one_expression(connection, change, expected)
        )


def _is_one_expression(
    connection: psycopg.Connection[Any], change: Change, expected: Snapshot
) -> bool:
    if change.change is not ChangeKind.CHANGED or change.before is None or change.after is None:
        return False
    before = _query(change, change.before, expected)
    after = _query(change, change.after, expected)
    if before is None or after is None:
        return False
    (mine, my_rest), (theirs, their_rest) = before, after
    written = _written(connection, mine)
    return my_rest == their_rest and written is not None and written == _written(connection, theirs)


def _query(change: Change, text: str, expected: Snapshot) -> tuple[sql.Composable, str] | None:
    """Give a query that holds the expression, and what stands around it; None if it has none."""
    thing = expected.objects.get(change.object)
    if thing is None:
        return None
    table = thing.parent.removeprefix("foreign ").removeprefix("table ")
    match thing.kind, change.attribute:
        case (("view" | "materialized view"), "definition"):
            return sql.SQL(text.rstrip(";")), ""
        case ("policy", "using" | "with check") | ("column", "default"):
            return _of_table(text, table), ""
        case "constraint", "definition":
            if check := _CHECK.fullmatch(text):
                return _of_table(check[1], table), check[2]
        case "index", "definition":
            head, _, predicate = text.partition(" WHERE ")
            return _of_table(predicate or "true", table), head
    return None


def _of_table(expression: str, table: str) -> sql.Composable:
    return sql.SQL("select ({}) as expression from {}").format(sql.SQL(expression), sql.SQL(table))


def _written(connection: psycopg.Connection[Any], query: sql.Composable) -> str | None:
    """Give what the server writes of a query after parsing it, or None if it cannot."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(_CREATE_VIEW.format(query))
            row = connection.execute(_READ_VIEW).fetchone()
    except psycopg.Error:
        return None
    return str(row[0]) if row else None
