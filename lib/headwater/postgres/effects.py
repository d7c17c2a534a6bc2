"""What a statement that cannot run in a transaction leaves, as the catalogue shows it.

Such a statement is not all or nothing: a CREATE INDEX CONCURRENTLY that fails leaves an invalid
index, and one whose connection was lost may have been done. So what there is `before` it is noted
in the journal, and afterwards the catalogue is compared with that. Objects are noted by oid: what
stands under the same name and was there before is somebody else's, and is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from psycopg import sql

from headwater.postgres.connect import Connection

if TYPE_CHECKING:
    from headwater.files.grammar import Statement

Before = Mapping[str, Any]
Note = Callable[[Connection, Connection, Any], Before]


class Effect(Enum):
    """What the catalogue says of a statement that was begun."""

    DONE = "done"
    NOT_DONE = "not done"
    """Nothing of it is left, or nothing that stands in the way of running it again."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found of a statement, and what must be run before it can be run again."""

    effect: Effect
    leftovers: tuple[str, ...] = ()
    """Invalid indexes that it left, `schema.name` for people."""
    mending: tuple[sql.Composed, ...] = ()
    """The statements that remove the left-overs, or that end what was begun."""


_DONE = Found(effect=Effect.DONE)
_NOT_DONE = Found(effect=Effect.NOT_DONE)
_UNKNOWN = Found(effect=Effect.UNKNOWN)


# --- before -----------------------------------------------------------------------------------


def note_before(session: Connection, catalog: Connection, statement: Statement) -> Before:
    """Note what there is before a statement runs.

    Its own `session` resolves its names; `catalog` is a connection with an empty search_path. A
    table or index that is not there is noted as null: the statement will fail by itself.
    """
    note = _NOTES.get(statement.kind)
    return {"kind": "other"} if note is None else note(session, catalog, statement.node)


def _note_index(session: Connection, catalog: Connection, node: Any) -> Before:
    relation = _resolve(session, node.relation.schemaname, node.relation.relname)
    indexes = [row["oid"] for row in _indexes_of(catalog, relation)]
    return {"kind": "index", "relation": relation, "name": node.idxname, "indexes": indexes}


def _note_reindex(session: Connection, catalog: Connection, node: Any) -> Before:
    relation = None
    if node.HasField("relation"):
        relation = _resolve(session, node.relation.schemaname, node.relation.relname)
    return {"kind": "reindex", "relation": relation, "invalid": _invalid_indexes(catalog)}


def _note_drop(session: Connection, catalog: Connection, node: Any) -> Before:
    names = [[item.string.sval for item in thing.list.items] for thing in node.objects]
    found = [_resolve(session, *([""] * (2 - len(name[-2:])) + name[-2:])) for name in names]
    indexes = [oid for oid in found if oid is not None]
    return {"kind": "drop", "indexes": indexes, "invalid": _invalid_indexes(catalog)}


def _note_detach(session: Connection, _catalog: Connection, node: Any) -> Before:
    parent = _resolve(session, node.relation.schemaname, node.relation.relname)
    for command in node.cmds:
        part = getattr(command.alter_table_cmd, "def").partition_cmd
        if part.concurrent:
            partition = _resolve(session, part.name.schemaname, part.name.relname)
            return {"kind": "detach", "parent": parent, "partition": partition}
    return {"kind": "other"}


def _note_repeatable(_session: Connection, _catalog: Connection, _node: Any) -> Before:
    return {"kind": "repeatable"}


def _note_named(kind: str, table: str, field: str) -> Note:
    def note(_session: Connection, catalog: Connection, node: Any) -> Before:
        name = str(getattr(node, field))
        there = _is_there(catalog, table, name)
        return {"kind": kind, "catalog": table, "name": name, "there": there}

    return note


_NOTES: dict[str, Note] = {
    "index_stmt": _note_index,
    "reindex_stmt": _note_reindex,
    "drop_stmt": _note_drop,
    "alter_table_stmt": _note_detach,
    "createdb_stmt": _note_named("made", "pg_database", "dbname"),
    "dropdb_stmt": _note_named("unmade", "pg_database", "dbname"),
    "create_table_space_stmt": _note_named("made", "pg_tablespace", "tablespacename"),
    "drop_table_space_stmt": _note_named("unmade", "pg_tablespace", "tablespacename"),
    "create_subscription_stmt": _note_named("made", "pg_subscription", "subname"),
    "drop_subscription_stmt": _note_named("unmade", "pg_subscription", "subname"),
    # Running them twice is running them once.
    "vacuum_stmt": _note_repeatable,
    "cluster_stmt": _note_repeatable,
    "alter_system_stmt": _note_repeatable,
    "alter_database_stmt": _note_repeatable,
    "alter_subscription_stmt": _note_repeatable,
    "discard_stmt": _note_repeatable,
}


# --- after ------------------------------------------------------------------------------------


def find_effect(connection: Connection, before: Before | None) -> Found:
    """Say what has become of a statement; the session's search_path is empty.

    `before` is what `note_before` gave, or None when the journal does not hold it.
    """
    if before is None:
        return _UNKNOWN
    return _FINDERS.get(before["kind"], _find_nothing)(connection, before)


def _find_nothing(_connection: Connection, _before: Before) -> Found:
    return _UNKNOWN


def _find_repeatable(_connection: Connection, _before: Before) -> Found:
    return _NOT_DONE


def _find_index(connection: Connection, before: Before) -> Found:
    """Find the index that was made: the new one of its name, or else the only new one."""
    if before["relation"] is None:
        return _NOT_DONE
    new = [
        row
        for row in _indexes_of(connection, before["relation"])
        if row["oid"] not in before["indexes"]
    ]
    mine = [row for row in new if not before["name"] or row["name"] == before["name"]]
    if not mine:
        return _NOT_DONE
    if len(mine) > 1:
        return _UNKNOWN
    return _DONE if mine[0]["valid"] else _left_behind(mine)


def _find_reindex(connection: Connection, before: Before) -> Found:
    """Find the copies that a REINDEX CONCURRENTLY left: it can always be run again."""
    tables = _tables_of(connection, before["relation"])
    new = [
        row
        for row in _new_copies(connection, before["invalid"])
        if tables is None or row["table"] in tables
    ]
    return _left_behind(new) if new else _NOT_DONE


def _find_drop(connection: Connection, before: Before) -> Found:
    """Find an index that is still there: it may be invalid by now, which running it again ends."""
    query = _INDEXES + " WHERE c.oid = ANY (%s::oid[])"
    left = _named(connection.execute(query.encode(), (before["indexes"],)).fetchall())
    spoilt = [row for row in left if not row["valid"] and row["oid"] not in before["invalid"]]
    if not before["indexes"]:
        return _NOT_DONE  # there was nothing to drop: that it is not there proves nothing
    if not left:
        return _DONE
    return Found(effect=Effect.NOT_DONE, leftovers=_names_of(spoilt))


def _find_detach(connection: Connection, before: Before) -> Found:
    if before["parent"] is None or before["partition"] is None:
        return _NOT_DONE
    row = connection.execute(
        "SELECT i.inhdetachpending, pn.nspname, p.relname, cn.nspname, c.relname "
        "FROM pg_catalog.pg_inherits i "
        "JOIN pg_catalog.pg_class p ON p.oid = i.inhparent "
        "JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace "
        "JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid "
        "JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace "
        "WHERE i.inhparent = %s AND i.inhrelid = %s",
        (before["parent"], before["partition"]),
    ).fetchone()
    if row is None:
        return _DONE
    pending, *names = row
    if not pending:
        return _NOT_DONE
    finalize = sql.SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE").format(
        sql.Identifier(*names[:2]), sql.Identifier(*names[2:])
    )
    return Found(effect=Effect.DONE, mending=(finalize,))


def _find_made(connection: Connection, before: Before) -> Found:
    there = _is_there(connection, before["catalog"], before["name"])
    if before["there"] or not there:
        return _NOT_DONE
    return _DONE


def _find_unmade(connection: Connection, before: Before) -> Found:
    there = _is_there(connection, before["catalog"], before["name"])
    return _NOT_DONE if there or not before["there"] else _DONE


_FINDERS: dict[str, Callable[[Connection, Before], Found]] = {
    "index": _find_index,
    "reindex": _find_reindex,
    "drop": _find_drop,
    "detach": _find_detach,
    "made": _find_made,
    "unmade": _find_unmade,
    "repeatable": _find_repeatable,
}


# --- the catalogue ----------------------------------------------------------------------------

_INDEXES = """
SELECT c.oid::bigint, n.nspname, c.relname, i.indisvalid, i.indrelid::bigint
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""

# A build that goes on now is nobody's left-over. (REINDEX CONCURRENTLY names its copies so.)
_COPIES = (
    _INDEXES
    + r"""
 WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)\d*$' AND c.oid <> ALL (%s::oid[])
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                    WHERE p.index_relid = c.oid OR p.relid = i.indrelid)
"""
)


def _resolve(session: Connection, schema: str, name: str) -> int | None:
    """Give the oid of a relation, found by the search_path of the session where it has no schema.

    to_regclass is no operator and no function of the search_path: nobody can stand in for it.
    """
    shown = sql.Identifier(*filter(None, (schema, name))).as_string(session)
    row = session.execute(
        "SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid::bigint", (shown,)
    ).fetchone()
    return row[0] if row else None


def _indexes_of(connection: Connection, relation: int | None) -> list[dict[str, Any]]:
    query = _INDEXES + " WHERE i.indrelid = %s::oid"
    return _named(connection.execute(query.encode(), (relation,)).fetchall())


def _invalid_indexes(catalog: Connection) -> list[int]:
    rows = catalog.execute(
        "SELECT indexrelid::bigint FROM pg_catalog.pg_index WHERE NOT indisvalid"
    )
    return [row[0] for row in rows]


def _new_copies(connection: Connection, before: list[int]) -> list[dict[str, Any]]:
    return _named(connection.execute(_COPIES.encode(), (before,)).fetchall())


def _named(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [
        dict(zip(("oid", "schema", "name", "valid", "table"), row, strict=True)) for row in rows
    ]


def _tables_of(connection: Connection, relation: int | None) -> set[int] | None:
    """Give the tables whose indexes a REINDEX builds: of an index, of a table; None is all."""
    if relation is None:
        return None
    rows = connection.execute(
        "SELECT indrelid::bigint FROM pg_catalog.pg_index WHERE indexrelid = %s", (relation,)
    ).fetchall()
    return {relation, *(row[0] for row in rows)}


def _is_there(connection: Connection, catalog: str, name: str) -> bool:
    column = {"pg_database": "datname", "pg_tablespace": "spcname", "pg_subscription": "subname"}
    query = sql.SQL("SELECT FROM pg_catalog.{} WHERE {} = %s::name").format(
        sql.Identifier(catalog), sql.Identifier(column[catalog])
    )
    return connection.execute(query, (name,)).rowcount > 0


def _names_of(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(f"{row['schema']}.{row['name']}" for row in rows)


def _left_behind(rows: list[dict[str, Any]]) -> Found:
    drop = sql.SQL("DROP INDEX CONCURRENTLY {}")
    return Found(
        effect=Effect.NOT_DONE,
        leftovers=_names_of(rows),
        mending=tuple(drop.format(sql.Identifier(row["schema"], row["name"])) for row in rows),
    )
