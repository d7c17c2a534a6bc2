"""What stands in the way of pending files in the target right now, besides its rows.

Transactions that are open on tables which a file will lock, sequences that come to their end, and
indexes that CONCURRENTLY has left invalid: of the tables that files are about.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from headwater.outcomes import LockMode
from headwater.postgres.connect import Connection, only_catalog_names
from headwater.postgres.tablelocks import LOCK_MODES
from headwater.postgres.translate import translated

# From here on a sequence is told of. (At 70 percent of 2³¹ a key that took a year has months.)
NEAR_END = 70.0

# https://www.postgresql.org/docs/18/explicit-locking.html, table 13.2: the weakest mode that each
# mode waits for; but SHARE does not wait for itself.
_WAITS_FROM = {
    LockMode.ACCESS_SHARE: LockMode.ACCESS_EXCLUSIVE,
    LockMode.ROW_SHARE: LockMode.EXCLUSIVE,
    LockMode.ROW_EXCLUSIVE: LockMode.SHARE,
    LockMode.SHARE_UPDATE_EXCLUSIVE: LockMode.SHARE_UPDATE_EXCLUSIVE,
    LockMode.SHARE: LockMode.ROW_EXCLUSIVE,
    LockMode.SHARE_ROW_EXCLUSIVE: LockMode.ROW_EXCLUSIVE,
    LockMode.EXCLUSIVE: LockMode.ROW_SHARE,
    LockMode.ACCESS_EXCLUSIVE: LockMode.ACCESS_SHARE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A transaction that holds a lock on a table: who it is, in words, and for how long."""

    table: int
    mode: LockMode
    who: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NearEnd:
    """A sequence, and how much is used of what it or its column can hold."""

    table: int
    sequence: str
    column: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidIndex:
    """An index that no query uses, and that nobody is building."""

    table: int
    index: str


_HOLDERS = """
SELECT l.relation, l.mode,
       CASE WHEN l.pid IS NULL THEN pg_catalog.format('the prepared transaction %%L', p.gid)
            ELSE pg_catalog.format('process %%s (%%s as %%s, %%s)', a.pid,
                 coalesce(nullif(a.application_name, ''), 'unnamed'), a.usename, a.state) END,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(p.prepared, a.xact_start))::float8
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN pg_catalog.pg_prepared_xacts p
    ON l.pid IS NULL AND l.virtualtransaction = '-1/' || p.transaction::text
 WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY (%s::oid[])
   AND l.database = (SELECT oid FROM pg_catalog.pg_database
                      WHERE datname = pg_catalog.current_database())
   AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
   AND coalesce(p.prepared, a.xact_start) IS NOT NULL
 ORDER BY 4 DESC, 3
"""

# Of the sequences that belong to columns; what a role may not read has no last value.
_SEQUENCES = """
SELECT d.refobjid, pg_catalog.format('%%I.%%I', s.schemaname, s.sequencename), a.attname,
       100.0 * s.last_value::float8 / least(s.max_value,
               CASE t.typname WHEN 'int2' THEN 32767 WHEN 'int4' THEN 2147483647
                              ELSE 9223372036854775807 END)::float8 AS percent
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'::"char"
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_sequences s ON s.schemaname = n.nspname AND s.sequencename = c.relname
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
   AND d.refobjid = ANY (%s::oid[]) AND d.deptype = ANY ('{a,i}'::"char"[])
   AND s.increment_by > 0 AND NOT s.cycle
 ORDER BY 2
"""

# The index of a partitioned table is invalid until every partition has its own: no remains of
# CONCURRENTLY.
_INVALID = """
SELECT i.indrelid, pg_catalog.format('%%I.%%I', n.nspname, c.relname)
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'::"char"
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indrelid = ANY (%s::oid[]) AND NOT i.indisvalid
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                    WHERE p.index_relid = i.indexrelid)
 ORDER BY 2
"""


def holders(
    connection: Connection, locks: Mapping[int, LockMode], *, longer_than_s: float
) -> tuple[Holder, ...]:
    """Give the transactions that a lock on each of some tables would wait for, the oldest first.

    Those of other roles are seen by superusers and members of pg_read_all_stats alone.
    """
    with translated("looking at open transactions"), only_catalog_names(connection):
        rows = connection.execute(_HOLDERS, (list(locks),)).fetchall()
    found = (
        Holder(table=table, mode=LOCK_MODES[mode], who=who, seconds=seconds)
        for table, mode, who, seconds in rows
        if seconds > longer_than_s
    )
    return tuple(holder for holder in found if conflicts(locks[holder.table], holder.mode))


def conflicts(wanted: LockMode, held: LockMode) -> bool:
    """Say whether a lock waits for another one on the same table."""
    both_share = wanted is held is LockMode.SHARE
    return held.rank >= _WAITS_FROM[wanted].rank and not both_share


def sequences_near_end(connection: Connection, tables: Collection[int]) -> tuple[NearEnd, ...]:
    """Give the sequences of some tables of which `NEAR_END` percent are used."""
    with translated("looking at the sequences"), only_catalog_names(connection):
        rows = connection.execute(_SEQUENCES, (list(tables),)).fetchall()
    return tuple(
        NearEnd(table=table, sequence=sequence, column=column, percent=percent)
        for table, sequence, column, percent in rows
        if percent is not None and percent >= NEAR_END
    )


def invalid_indexes(connection: Connection, tables: Collection[int]) -> tuple[InvalidIndex, ...]:
    """Give the indexes of some tables that a failed CONCURRENTLY has left."""
    with translated("looking at the indexes"), only_catalog_names(connection):
        rows = connection.execute(_INVALID, (list(tables),)).fetchall()
    return tuple(InvalidIndex(table=table, index=index) for table, index in rows)
