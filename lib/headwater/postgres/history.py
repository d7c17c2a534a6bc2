"""History: the table that remembers what was applied; made and read here.

`public.schema_migrations` has one row for each applied version, written in the transaction that
applied it (`record.py`). `public.schema_migrations_steps` is the journal beside it (`journal.py`).
Both are bookkeeping, named in full in every statement, and never drift.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from headwater.errors import HistoryError
from headwater.model import Applied
from headwater.postgres.connect import Connection, only_catalog_names
from headwater.postgres.translate import translated
from headwater.settings import Settings

_CREATE = """
CREATE TABLE IF NOT EXISTS {history} (
    version text PRIMARY KEY,
    checksum text NOT NULL,
    tokens text,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    applied_by text NOT NULL DEFAULT CURRENT_USER,
    duration_ms bigint,
    out_of_order boolean NOT NULL DEFAULT false,
    how text NOT NULL DEFAULT 'run' CHECK (how IN ('run', 'marked', 'baseline')),
    fingerprint text
);
COMMENT ON TABLE {history} IS 'Headwater: the migrations that were applied to this database.';
CREATE TABLE IF NOT EXISTS {steps} (
    version text NOT NULL,
    step integer NOT NULL,
    tokens text NOT NULL,
    state text NOT NULL CHECK (state IN ('started', 'done')),
    before jsonb,
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (version, step)
);
COMMENT ON TABLE {steps} IS 'Headwater: how far no-transaction migrations have come.';
"""

_COLUMNS = Applied._fields

# As the table stands: no row when there is none; its columns, and whether it is a plain table
# without rules and triggers, which could take a record away that was said to be written, and
# without children, whose rows would count as applied. Read from the catalogue, so that neither
# search_path nor a missing right on the table decides.
_SHAPE = """
SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       c.relkind = 'r'
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                        WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s
"""


def table(settings: Settings, suffix: str = "") -> sql.Identifier:
    """Give the history table (or its sibling) as a qualified identifier."""
    return sql.Identifier(settings.history_schema, settings.history_table + suffix)


def has_history(connection: Connection, settings: Settings) -> bool:
    """Say whether the history table is there. Raises HistoryError when it is somebody else's."""
    with translated("reading the history"), only_catalog_names(connection):
        return _has_history(connection, settings)


def _has_history(connection: Connection, settings: Settings) -> bool:
    shape = _shape(connection, settings)
    if shape is None:
        return False
    columns, is_plain = shape
    if not set(_COLUMNS) <= set(columns):
        older = _is_older(columns)
        raise HistoryError(
            f"{settings.history} was made by another tool",
            detail=f"its columns are {', '.join(columns) or 'none'}; it was not touched",
            hint="invoke history.baseline VERSION takes it over, and keeps its rows; VERSION is "
            "the last file that the database was built from"
            if older
            else "keep it, and give Headwater its own: "
            "HEADWATER_HISTORY_TABLE=public.headwater_history",
        )
    _require_plain(settings, is_plain=is_plain)
    return True


def _shape(connection: Connection, settings: Settings) -> tuple[list[str], bool] | None:
    """Give the columns of the table and whether it is a plain one; None when there is none."""
    row = connection.execute(_SHAPE, (settings.history_schema, settings.history_table)).fetchone()
    return None if row is None else (row[0], row[1])


def _require_plain(settings: Settings, *, is_plain: bool) -> None:
    if not is_plain:
        raise HistoryError(
            f"{settings.history} is no plain table, but a view, or has rules, triggers or children",
            detail="what they change, drop or add would be no record of ours; nothing was run",
            hint="remove them, or let them stand on a copy of the table",
        )


# What tells the table of the project that Headwater comes from: no checksums, but file names.
_OLDER = {"version", "filename", "applied_at"}


def _is_older(columns: Sequence[str]) -> bool:
    return set(columns) >= _OLDER and not set(columns) & (set(_COLUMNS) - _OLDER)


def is_older(connection: Connection, settings: Settings) -> bool:
    """Say whether the table is an older one, which `older` understands; raise unless it is plain.

    It has a version, a file name and a time, and nothing yet of what a history has beside them.
    """
    with translated("reading the history"), only_catalog_names(connection):
        shape = _shape(connection, settings)
    if shape is None or not _is_older(shape[0]):
        return False
    _require_plain(settings, is_plain=shape[1])
    return True


def read_history(connection: Connection, settings: Settings) -> tuple[Applied, ...]:
    """Read what was applied, in order of version; empty when there is no history yet."""
    query = sql.SQL('SELECT {} FROM {} ORDER BY version COLLATE pg_catalog."C"').format(
        sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)), table(settings)
    )
    with translated("reading the history"), only_catalog_names(connection):
        if not _has_history(connection, settings):
            return ()
        with connection.cursor(row_factory=lambda _: Applied._make) as cursor:
            return tuple(cursor.execute(query).fetchall())


def create_history(connection: Connection, settings: Settings) -> None:
    """Make history and journal where they are not there; call it with the lock held.

    (`IF NOT EXISTS` alone is no lock: of several runners at once most would fail.)
    """
    with translated(f"making {settings.history}"), only_catalog_names(connection):
        connection.execute(creation(connection, settings))


def creation(connection: Connection, settings: Settings) -> bytes:
    """Give the statements that make history and journal; run them with an empty search_path."""
    return (
        sql.SQL(_CREATE)
        .format(history=table(settings), steps=table(settings, "_steps"))
        .as_bytes(connection)
    )


def versions_half_done(connection: Connection, settings: Settings) -> frozenset[str]:
    """Give the versions that have a journal and no row in history."""
    with translated("reading the journal"), only_catalog_names(connection):
        if not _has_history(connection, settings):
            return frozenset()
        rows = connection.execute(
            sql.SQL(
                "SELECT DISTINCT s.version FROM {} s LEFT JOIN {} h USING (version) "
                "WHERE h.version IS NULL"
            ).format(table(settings, "_steps"), table(settings))
        ).fetchall()
    return frozenset(row[0] for row in rows)
