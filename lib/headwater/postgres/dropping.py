"""What a reset drops: the managed schemas whole, or the contents of a managed public."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from headwater.postgres.connect import Connection, only_catalog_names
from headwater.postgres.translate import translated
from headwater.settings import Settings

# Tables dropped in one transaction when there are too many for the lock table: each takes a lock
# for itself, its indexes and its TOAST table. The default lock table holds 64 by 100.
_BATCH = 200


def bookkeeping(settings: Settings) -> list[str]:
    """Give the names of the tables that a managed public keeps."""
    if settings.history_schema != "public":
        return []
    return [settings.history_table, f"{settings.history_table}_steps"]


def drop_statements(connection: Connection, settings: Settings) -> bytes:
    """Give the statements that drop the managed schemas; a managed public is emptied instead."""
    dropped = [sql.Identifier(name) for name in settings.schemas if name != "public"]
    statements = b""
    if dropped:
        statements = (
            sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE;\n")
            .format(sql.SQL(", ").join(dropped))
            .as_bytes(connection)
        )
    if "public" in settings.schemas:
        statements += b"".join(_emptying(connection, settings))
    return statements


# Objects that stand in public by themselves: no part of something else, no member of an extension,
# not our bookkeeping. The identity is quoted and qualified by the server.
_IN_PUBLIC = """
SELECT o.type, o.identity
  FROM pg_catalog.pg_depend d
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) o
 WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
   AND d.refobjid = 'public'::pg_catalog.regnamespace AND d.deptype = 'n'
   AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid IN (
            SELECT c.oid FROM pg_catalog.pg_class c
             WHERE c.relnamespace = 'public'::pg_catalog.regnamespace
               AND c.relname = ANY (%s)))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = d.classid AND e.objid = d.objid AND e.objsubid = 0
                      AND e.deptype IN ('e', 'i', 'a'))
 ORDER BY o.type <> 'table', o.type, o.identity
"""

# What pg_identify_object calls some types, and what DROP calls them.
_DROP_NAMES = {
    "statistics object": "STATISTICS",
    "composite type": "TYPE",
    # DROP ROUTINE takes the plain list of argument types, DROP AGGREGATE its own forms of it.
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "aggregate": "ROUTINE",
}


def _emptying(connection: Connection, settings: Settings) -> Iterator[bytes]:
    with translated("looking at the schema public"), only_catalog_names(connection):
        rows = connection.execute(_IN_PUBLIC, (bookkeeping(settings),)).fetchall()
    for kind, identity in rows:
        if kind in ("extension", "default acl"):
            continue  # an extension stays; so do default privileges, which are grants
        name = _DROP_NAMES.get(kind, kind.upper())
        # Both texts are the server's own; the identity comes quoted.
        yield b"DROP %s IF EXISTS %s CASCADE;\n" % (name.encode(), identity.encode())


_TABLES = """
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p')
   AND NOT (n.nspname = %(history_schema)s AND c.relname = ANY (%(history)s))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
 LIMIT %(batch)s
"""


def some_tables(connection: Connection, settings: Settings) -> list[tuple[str, str]]:
    """Give some of the tables that are still to be dropped: as many as one transaction may hold."""
    with translated("looking at the schemas"), only_catalog_names(connection):
        rows = connection.execute(
            _TABLES,
            {
                "schemas": list(settings.schemas),
                "history_schema": settings.history_schema,
                "history": bookkeeping(settings),
                "batch": _BATCH,
            },
        ).fetchall()
    return [(str(schema), str(name)) for schema, name in rows]
