"""The record of a migration: written in its transaction, and judged before that is committed.

Nothing of it can be captured by an object of somebody's schema, whatever the file did to its
session: it is sent with an empty search_path, and made of literals that hold no quote.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from headwater.model import How, Migration
from headwater.postgres.connect import Connection
from headwater.postgres.history import table
from headwater.settings import Settings

NOT_KEPT = "the history did not keep the record"

_NO_LOCK = sql.SQL("true")


def record(  # noqa: PLR0913 - what a row of history holds, each by its name
    connection: Connection,
    settings: Settings,
    migration: Migration,
    *,
    tokens: str,
    out_of_order: bool,
    duration: sql.Composable,
    how: How = How.RUN,
    lock: sql.Composable = _NO_LOCK,
) -> bytes:
    """Give the two statements that record a migration and judge the record.

    `duration` is an expression in ms, `lock` one that says whether the migration lock is held. The
    second statement gives the row that `Judged.of` reads: its caller sends COMMIT only then.
    It is made of literals that hold no quote (versions, hashes), so that nothing the file has set
    can change its meaning; its caller has emptied search_path.
    """
    insert = sql.SQL(
        "INSERT INTO {} (version, checksum, tokens, applied_at, applied_by, duration_ms, "
        "out_of_order, how) VALUES ({}, {}, {}, pg_catalog.clock_timestamp(), "
        "CURRENT_USER, {}, {}, {});\n"
    ).format(
        table(settings),
        sql.Literal(migration.version),
        sql.Literal(migration.checksum),
        sql.Literal(tokens),
        duration,
        sql.Literal(out_of_order),
        sql.Literal(how.value),
    )
    kept = sql.SQL(_KEPT).format(
        history=table(settings),
        version=sql.Literal(migration.version),
        name=sql.Literal(f"{settings.history_schema}.{settings.history_table}"),
    )
    return insert.as_bytes(connection) + judging(connection, kept, lock)


# Whether the record stands in a plain table: the file itself may have put a rule or a trigger
# there, or a view in its place.
_KEPT = """
(SELECT count(*) FROM {history} WHERE version = {version}) = 1
AND EXISTS (SELECT FROM pg_catalog.pg_class c
             WHERE c.oid = {name}::pg_catalog.regclass AND c.relkind = 'r'
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                                WHERE t.tgrelid = c.oid AND NOT t.tgisinternal))
"""

# Whether what was written is kept; whether the transaction is still the one that was begun for
# the file: only that is deferrable; whether the lock is held; and the transaction's number, to ask
# for its end by.
_JUDGE = sql.SQL(
    "SELECT {kept}, pg_catalog.current_setting('transaction_deferrable') = 'on', {lock}, "
    "pg_catalog.pg_current_xact_id();\n"
)


def judging(connection: Connection, kept: sql.Composable, lock: sql.Composable) -> bytes:
    """Give the statement whose row `Judged.of` reads; run it with an empty search_path."""
    return _JUDGE.format(kept=kept, lock=lock).as_bytes(connection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the server says of a record before it is committed."""

    kept: bool
    same_transaction: bool
    locked: bool
    transaction: int

    @classmethod
    def of(cls, row: tuple[str | None, ...]) -> Judged:
        """Read the row that `judging` gives, as text."""
        kept, same, locked, transaction = row
        return cls(
            kept=kept == "t",
            same_transaction=same == "t",
            locked=locked == "t",
            transaction=int(transaction or 0),
        )
