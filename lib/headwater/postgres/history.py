"""History: the table that remembers what was applied, and the journal beside it.

`public.schema_migrations` has one row for each applied version, written in the transaction that
applied it. `public.schema_migrations_steps` has one row for each statement of a no-transaction
file. Both are bookkeeping, named in full in every statement, and never drift.
"""

from __future__ import annotations

from psycopg import sql
from psycopg.rows import class_row

from headwater.errors import HistoryError
from headwater.model import Applied, How, Migration
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
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (version, step)
);
COMMENT ON TABLE {steps} IS 'Headwater: how far no-transaction migrations have come.';
"""

_COLUMNS = (
    "version",
    "checksum",
    "tokens",
    "applied_at",
    "applied_by",
    "duration_ms",
    "out_of_order",
    "how",
    "fingerprint",
)

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
    row = connection.execute(_SHAPE, (settings.history_schema, settings.history_table)).fetchone()
    if row is None:
        return False
    columns, is_plain = row
    if not set(_COLUMNS) <= set(columns):
        raise HistoryError(
            f"{settings.history} was made by another tool",
            detail=f"its columns are {', '.join(columns) or 'none'}; it was not touched",
            hint="keep it, and give Headwater its own: "
            "HEADWATER_HISTORY_TABLE=public.headwater_history",
        )
    if not is_plain:
        raise HistoryError(
            f"{settings.history} is no plain table, but a view, or has rules, triggers or children",
            detail="what they change, drop or add would be no record of ours; nothing was run",
            hint="remove them, or let them stand on a copy of the table",
        )
    return True


def read_history(connection: Connection, settings: Settings) -> tuple[Applied, ...]:
    """Read what was applied, in order of version; empty when there is no history yet."""
    query = sql.SQL('SELECT {} FROM {} ORDER BY version COLLATE pg_catalog."C"').format(
        sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)), table(settings)
    )
    with translated("reading the history"), only_catalog_names(connection):
        if not _has_history(connection, settings):
            return ()
        with connection.cursor(row_factory=class_row(Applied)) as cursor:
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


def record(  # noqa: PLR0913 - what a row of history holds, each by its name
    connection: Connection,
    settings: Settings,
    migration: Migration,
    *,
    tokens: str,
    out_of_order: bool,
    duration: sql.Composable,
    how: How = How.RUN,
) -> bytes:
    """Give the statement that records a migration; `duration` is an expression in ms.

    It is made of literals that hold no quote (versions, hashes), so that nothing the file has set
    can change its meaning; its caller has emptied search_path.
    """
    return (
        sql.SQL(
            "INSERT INTO {} (version, checksum, tokens, applied_at, applied_by, duration_ms, "
            "out_of_order, how) VALUES ({}, {}, {}, pg_catalog.clock_timestamp(), "
            "CURRENT_USER, {}, {}, {});\n"
        )
        .format(
            table(settings),
            sql.Literal(migration.version),
            sql.Literal(migration.checksum),
            sql.Literal(tokens),
            duration,
            sql.Literal(out_of_order),
            sql.Literal(how.value),
        )
        .as_bytes(connection)
    ) + _require_kept(connection, settings, migration.version)


# Fails, with our words in the error, unless the record stands in a plain table: the file itself
# may have put a rule or a trigger there, or a view in its place. (A text that is no boolean; concat
# is not immutable, so that the planner does not evaluate it ahead.)
_KEPT = """
SELECT CASE WHEN (SELECT count(*) FROM {history} WHERE version = {version}) = 1
             AND EXISTS (SELECT FROM pg_catalog.pg_class c
                          WHERE c.oid = {name}::pg_catalog.regclass AND c.relkind = 'r'
                            AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r
                                             WHERE r.ev_class = c.oid)
                            AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                                             WHERE t.tgrelid = c.oid AND NOT t.tgisinternal))
            THEN true ELSE pg_catalog.concat({not_kept})::boolean END;
"""
NOT_KEPT = "the history did not keep the record"


def _require_kept(connection: Connection, settings: Settings, version: str) -> bytes:
    return (
        sql.SQL(_KEPT)
        .format(
            history=table(settings),
            version=sql.Literal(version),
            name=sql.Literal(f"{settings.history_schema}.{settings.history_table}"),
            not_kept=sql.Literal(NOT_KEPT),
        )
        .as_bytes(connection)
    )


# --- the journal of no-transaction files ------------------------------------------------------


def read_steps(
    connection: Connection, settings: Settings, version: str
) -> dict[int, tuple[str, str]]:
    """Read the journal of one version: step (from 1) -> (tokens of the statement, state)."""
    with translated("reading the journal"):
        rows = connection.execute(
            sql.SQL("SELECT step, tokens, state FROM {} WHERE version = %s").format(
                table(settings, "_steps")
            ),
            (version,),
        ).fetchall()
    return {step: (tokens, state) for step, tokens, state in rows}


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


def write_step(  # noqa: PLR0913, PLR0917 - a row of the journal
    connection: Connection, settings: Settings, version: str, step: int, tokens: str, state: str
) -> None:
    """Write how far one statement has come; the session is pinned for bookkeeping."""
    with translated("writing the journal"):
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (version, step, tokens, state) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (version, step) DO UPDATE "
                "SET tokens = excluded.tokens, state = excluded.state, "
                "changed_at = pg_catalog.now()"
            ).format(table(settings, "_steps")),
            (version, step, tokens, state),
        )


def forget_steps(connection: Connection, settings: Settings, version: str) -> bytes:
    """Give the statement that ends a journal: its version is recorded in the same transaction.

    A row that stayed would take the file for done when history is undone later.
    """
    return (
        sql.SQL("DELETE FROM {} WHERE version = {};\n")
        .format(table(settings, "_steps"), sql.Literal(version))
        .as_bytes(connection)
    )


def delete_step(connection: Connection, settings: Settings, version: str, step: int) -> None:
    """Forget a statement that failed, and so did nothing."""
    with translated("writing the journal"):
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE version = %s AND step = %s").format(
                table(settings, "_steps")
            ),
            (version, step),
        )
