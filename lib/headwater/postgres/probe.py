"""What one session says of itself: its locks, what it read and wrote, the files behind the tables.

The counters are those of the server (pg_stat_xact_all_tables): they grow until they are flushed
between two transactions, so a probe is compared with another one of the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headwater.outcomes import LockMode
from headwater.postgres.connect import Connection, only_catalog_names
from headwater.postgres.tablelocks import LOCK_MODES

# Every name, operators included, is qualified: what a file has put into search_path, or has made
# in a schema there, decides nothing of what is read, and no setting need be changed for it.

# Tables of every kind with their indexes; nothing temporary.
_RELATIONS: Final = """
SELECT c.oid, n.nspname, c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind,
       pg_catalog.pg_relation_filenode(c.oid), coalesce(i.indrelid, 0::pg_catalog.oid),
       coalesce((SELECT pg_catalog.array_agg(h.inhparent) FROM pg_catalog.pg_inherits h
                  WHERE h.inhrelid OPERATOR(pg_catalog.=) c.oid), '{}'::pg_catalog.oid[])
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid
 WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
   AND c.relpersistence OPERATOR(pg_catalog.<>) 't'::pg_catalog."char"
   AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f,S,i,I}'::pg_catalog."char"[])
"""

_LOCKS: Final = """
SELECT l.relation, l.mode FROM pg_catalog.pg_locks l
 WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
   AND l.locktype OPERATOR(pg_catalog.=) 'relation'::pg_catalog.text AND l.granted
   AND l.relation OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
   AND l.database OPERATOR(pg_catalog.=) (
           SELECT d.oid FROM pg_catalog.pg_database d
            WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
"""

_COUNTS: Final = """
SELECT relid, coalesce(seq_scan, 0) OPERATOR(pg_catalog.+) coalesce(idx_scan, 0),
       coalesce(seq_scan, 0),
       n_tup_ins OPERATOR(pg_catalog.+) n_tup_upd OPERATOR(pg_catalog.+) n_tup_del
  FROM pg_catalog.pg_stat_xact_all_tables
 WHERE relid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
"""

_NOTES: Final = "SELECT pg_catalog.current_setting('headwater.trace', true)"

_ALL: Final = f"{_LOCKS};{_NOTES};{_RELATIONS};{_COUNTS}".encode()

_UNFINISHED: Final = """
SELECT pg_catalog.format('constraint %I on %I.%I', o.conname, n.nspname, c.relname)
  FROM pg_catalog.pg_constraint o
  JOIN pg_catalog.pg_class c ON c.oid = o.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT o.convalidated AND o.conparentid = 0 AND o.conislocal
   AND coalesce((pg_catalog.to_jsonb(o) ->> 'conenforced')::boolean, true)
UNION ALL
SELECT pg_catalog.format('index %I.%I', n.nspname, c.relname)
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT i.indisvalid AND c.oid >= 16384
ORDER BY 1
"""

# As it is, search_path included. (What is not known to the server, such as app.user, is not shown.)
_SETTINGS: Final = """
SELECT name, setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'
UNION ALL
SELECT 'role', CURRENT_USER::pg_catalog.text
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A relation as it is just now; `file` is that of its rows, `table` that of an index."""

    schema: str
    bare_name: str
    name: str
    """With its schema, as the server writes it."""
    kind: str
    file: int | None
    table: int
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How often a table was read by any way, how often as a whole, and how many rows changed."""

    scans: int = 0
    whole: int = 0
    rows: int = 0

    def since(self, before: Counts) -> Counts:
        """Give what came after an earlier look."""
        return Counts(
            scans=self.scans - before.scans,
            whole=self.whole - before.whole,
            rows=self.rows - before.rows,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a session holds and has done, inside its transaction."""

    relations: Mapping[int, Relation]
    locks: Mapping[int, LockMode]
    """The strongest on each relation."""
    counts: Mapping[int, Counts]
    notes: Sequence[Mapping[str, Any]]
    """What the event triggers have noted, in order; see tracing.sql."""


def probe(connection: Connection) -> Probe:
    """Look at everything; inside the transaction whose statement is looked at."""
    cursor = connection.execute(_ALL)
    answers = [cursor.fetchall()]
    while cursor.nextset():
        answers.append(cursor.fetchall())
    locks, notes, found, counted = answers
    return Probe(
        relations=_relations(found),
        locks=strongest(locks),
        counts=_counts(counted),
        notes=_notes(notes),
    )


def only_notes(connection: Connection) -> Probe:
    """Give what the event triggers have noted, and look at nothing else."""
    notes = _notes(connection.execute(_NOTES).fetchall())
    return Probe(relations={}, locks={}, counts={}, notes=notes)


# What a note of each kind holds; a file may set the setting itself, to anything.
_HELD = {
    "rewrite": {"table", "reason"},
    "ddl": {"tag", "identity"},
    "drop": {"kind", "identity", "original", "normal"},
}


def _notes(rows: Sequence[tuple[Any, ...]]) -> Sequence[Mapping[str, Any]]:
    lines = (rows[0][0] or "").splitlines()
    return [note for note in map(_note, lines) if note is not None]


def _note(line: str) -> Mapping[str, Any] | None:
    try:
        note = json.loads(line)
    except ValueError:
        return None
    known = isinstance(note, dict) and _HELD.get(str(note.get("what")))
    return note if known and note.keys() >= known else None


def strongest(rows: Sequence[tuple[Any, ...]]) -> dict[int, LockMode]:
    """Give the strongest of the locks on each relation."""
    found = dict[int, LockMode]()
    for oid, written in rows:
        mode = LOCK_MODES[written]
        if oid not in found or mode.rank > found[oid].rank:
            found[oid] = mode
    return found


def relations(connection: Connection) -> dict[int, Relation]:
    """Give every relation by its oid."""
    return _relations(connection.execute(_RELATIONS.encode()).fetchall())


def _relations(rows: Sequence[tuple[Any, ...]]) -> dict[int, Relation]:
    return {
        oid: Relation(
            schema=schema,
            bare_name=bare_name,
            name=name,
            kind=kind,
            file=file,
            table=table,
            parents=tuple(parents),
        )
        for oid, schema, bare_name, name, kind, file, table, parents in rows
    }


def counts(connection: Connection) -> dict[int, Counts]:
    """Give the counters of every table that the session has touched since they were flushed."""
    return _counts(connection.execute(_COUNTS).fetchall())


def _counts(rows: Sequence[tuple[Any, ...]]) -> dict[int, Counts]:
    return {
        oid: Counts(scans=scans, whole=whole, rows=changed) for oid, scans, whole, changed in rows
    }


def unfinished(connection: Connection) -> tuple[str, ...]:
    """Name the constraints that are not validated, and the indexes that are not valid."""
    with only_catalog_names(connection):
        return tuple(name for (name,) in connection.execute(_UNFINISHED.encode()))


def session_settings(connection: Connection) -> dict[str, str]:
    """Give what the session has set, and the role that it works as."""
    return dict(connection.execute(_SETTINGS).fetchall())
