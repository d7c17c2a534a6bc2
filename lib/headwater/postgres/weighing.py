"""How much there is of the tables of a target: rows, bytes, and how much is written to them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from headwater.model import Target
from headwater.postgres.connect import Connection, connect, only_catalog_names
from headwater.postgres.translate import translated
from headwater.settings import Settings
from headwater.verdicts import Weight, Weights

# (The day only: it tells how old a file of statistics is.)
_WHERE = """
SELECT pg_catalog.current_database() || ' on '
       || pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
       (SELECT extract(epoch FROM pg_catalog.now() - stats_reset)::float8
          FROM pg_catalog.pg_stat_database
         WHERE datname = pg_catalog.current_database() AND NOT pg_catalog.pg_is_in_recovery())
"""

# To know the size of a table its lock is needed for a moment.
_PATIENCE_MS = 5_000
_PATIENCE = "SELECT pg_catalog.set_config(n, %s, true) FROM (VALUES ('lock_timeout')) AS v (n)"


def weights_of(target: Target, settings: Settings) -> Weights:
    """Connect to a target, and weigh the tables of its managed schemas."""
    with connect(target, purpose="lint", impatient=True) as connection:
        return read_weights(connection, settings.schemas)


def read_weights(connection: Connection, schemas: Sequence[str]) -> Weights:
    """Weigh every table and materialized view of some schemas, in one read-only transaction.

    It reads the catalogue and the statistics alone, so that it works on a standby and with a role
    that may read no table. Raises LockBusy when a table is locked for longer than five seconds.
    """
    query = resources.files(__package__).joinpath("weights.sql").read_bytes()
    connection.read_only = True
    with translated("weighing the tables"), only_catalog_names(connection):
        connection.execute(_PATIENCE, (str(_PATIENCE_MS),))
        rows = connection.execute(query, {"schemas": list(schemas)}).fetchall()
        row = connection.execute(_WHERE).fetchone()
    source, counted_s = row if row else ("", None)
    return Weights(
        tables={
            name: Weight(
                rows=count,
                heap_bytes=heap_bytes,
                index_bytes=index_bytes,
                writes=writes,
                estimated=estimated,
            )
            for name, count, heap_bytes, index_bytes, writes, estimated in sorted(rows)
        },
        source=source,
        version=connection.info.server_version // 1_00_00,
        counted_s=counted_s,
    )
