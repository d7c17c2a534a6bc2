"""Locks on tables that are there: those that files will take, and those that a session holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from headwater.files.accepted import Accepted
from headwater.files.locks import Named, locks_of
from headwater.outcomes import LockMode, TableLock
from headwater.postgres.connect import Connection, only_catalog_names
from headwater.postgres.translate import translated
from headwater.settings import Settings

# Tables of every kind, views and sequences; the lock of an index is told of its table.
_TABLES = """
SELECT c.oid, pg_catalog.format('%%I.%%I', n.nspname, t.relname)
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  JOIN pg_catalog.pg_class t ON t.oid = coalesce(i.indrelid, c.oid)
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
 WHERE c.oid = ANY (%s::oid[]) AND c.oid >= 16384::oid
   AND t.relkind = ANY ('{r,p,v,m,f,S}'::"char"[])
"""

# No operator stands here: an unqualified name is looked up as the file would find it.
_LOOK_UP = """
SELECT pg_catalog.to_regclass(name)::pg_catalog.oid
  FROM pg_catalog.unnest(%s::pg_catalog.text[]) WITH ORDINALITY AS named (name, number)
 ORDER BY number
"""

# Of another session: this one sees the tables as they were before it.
_HELD = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), l.mode
  FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_class c ON c.oid = l.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE l.locktype = 'relation' AND l.granted AND l.pid = %s AND c.oid >= 16384::oid
   AND l.database = (SELECT oid FROM pg_catalog.pg_database
                      WHERE datname = pg_catalog.current_database())
   AND c.relkind = ANY ('{r,p,v,m,f,S}'::"char"[])
   AND NOT (n.nspname = %s AND c.relname = ANY (%s))
"""

# As pg_locks writes them.
LOCK_MODES = {f"{mode.title().replace(' ', '')}Lock": mode for mode in LockMode}


def locks_to_come(connection: Connection, accepted: Iterable[Accepted]) -> tuple[TableLock, ...]:
    """Give the locks that files will take on tables that are there, as far as their text says."""
    wanted = locks_of(file.script for file in accepted)
    with translated("looking up the tables"):
        oids = connection.execute(_LOOK_UP, ([_quoted(name) for name in wanted],)).fetchall()
        with only_catalog_names(connection):
            found = connection.execute(_TABLES, ([oid for (oid,) in oids if oid],)).fetchall()
    names: dict[int, str] = dict(found)
    return _strongest(
        (names[oid], mode)
        for (oid,), mode in zip(oids, wanted.values(), strict=True)
        if oid in names
    )


def locks_held(connection: Connection, backend: int, settings: Settings) -> tuple[TableLock, ...]:
    """Give the locks that another session holds on tables, our bookkeeping left out."""
    ours = [settings.history_table, f"{settings.history_table}_steps"]
    with translated("looking at the locks"):
        rows = connection.execute(_HELD, (backend, settings.history_schema, ours)).fetchall()
    return _strongest((name, LOCK_MODES[mode]) for name, mode in rows)


def _quoted(named: Named) -> str:
    parts = filter(None, named)
    return sql.Identifier(*parts).as_string(None)


def _strongest(locks: Iterable[tuple[str, LockMode]]) -> tuple[TableLock, ...]:
    """Give one lock for each relation, the strongest first."""
    strongest = dict[str, LockMode]()
    for name, mode in sorted(locks, key=lambda lock: lock[1].rank):
        strongest[name] = mode
    return tuple(
        TableLock(relation=name, mode=mode)
        for name, mode in sorted(strongest.items(), key=lambda lock: (-lock[1].rank, lock[0]))
    )


def in_lines(locks: Sequence[TableLock]) -> str:
    """Write locks one a line."""
    return "\n".join(map(str, locks))
