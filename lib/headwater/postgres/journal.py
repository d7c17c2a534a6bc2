"""The journal of no-transaction files: `public.schema_migrations_steps`, a row for each statement.

A statement that can run in a transaction has its row written in that transaction, as done. For any
other the journal says 'started' before, with what there was `before`, and 'done' afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from headwater.postgres.connect import Connection
from headwater.postgres.history import table
from headwater.postgres.translate import translated
from headwater.settings import Settings

STARTED = "started"
DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row of the journal: a statement by its tokens, how far it came, what was before it."""

    tokens: str
    state: str
    before: Mapping[str, Any] | None = None


# A journal that an earlier version made lacks the column.
_COMPLETE = sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS before jsonb")
_IS_COMPLETE = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                 JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = %s AND c.relname = %s AND a.attname = 'before'
                  AND NOT a.attisdropped)
"""
_READ = sql.SQL("SELECT step, tokens, state, {} FROM {} WHERE version = %s")
_WRITE = sql.SQL(
    "INSERT INTO {} (version, step, tokens, state, before) VALUES ({}, {}, {}, {}, {}) "
    "ON CONFLICT (version, step) DO UPDATE SET tokens = excluded.tokens, state = excluded.state, "
    "before = excluded.before, changed_at = pg_catalog.now();\n"
)


def complete_journal(connection: Connection, settings: Settings) -> None:
    """Add what a journal of an earlier version lacks; call it with the lock held."""
    with translated("looking at the journal"):
        if not _is_complete(connection, settings):
            connection.execute(_COMPLETE.format(table(settings, "_steps")))


def _is_complete(connection: Connection, settings: Settings) -> bool:
    name = (settings.history_schema, f"{settings.history_table}_steps")
    return connection.execute(_IS_COMPLETE, name).fetchone() == (True,)


def read_steps(connection: Connection, settings: Settings, version: str) -> dict[int, Step]:
    """Read the journal of one version by step, counted from 1; only SELECTs."""
    with translated("reading the journal"):
        before = sql.SQL("before" if _is_complete(connection, settings) else "NULL::jsonb")
        query = _READ.format(before, table(settings, "_steps"))
        rows = connection.execute(query, (version,)).fetchall()
    return {
        step: Step(tokens=tokens, state=state, before=before)
        for step, tokens, state, before in rows
    }


def write_step(
    connection: Connection, settings: Settings, version: str, number: int, step: Step
) -> None:
    """Write how far one statement has come; the session is pinned for bookkeeping."""
    with translated("writing the journal"):
        connection.execute(writing(connection, settings, version, number, step))


def writing(
    connection: Connection, settings: Settings, version: str, number: int, step: Step
) -> bytes:
    """Give the statement that writes a row of the journal; run it with an empty search_path."""
    before = sql.Literal(Jsonb(step.before)) if step.before is not None else sql.SQL("NULL")
    values = map(sql.Literal, (version, number, step.tokens, step.state))
    return _WRITE.format(table(settings, "_steps"), *values, before).as_bytes(connection)


def delete_step(connection: Connection, settings: Settings, version: str, number: int) -> None:
    """Forget a statement that failed, and so did nothing."""
    with translated("writing the journal"):
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE version = %s AND step = %s").format(
                table(settings, "_steps")
            ),
            (version, number),
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
