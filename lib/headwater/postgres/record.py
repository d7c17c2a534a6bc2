"""The record of a migration: written in its transaction, and judged before that is committed.

Nothing of it can be captured by an object of somebody's schema, whatever the file did to its
session: every name and operator says where it is from, and no literal holds a quote.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import psycopg
from psycopg import sql

from headwater.model import How, Migration
from headwater.postgres.connect import Connection
from headwater.postgres.wire import Reply, send
from headwater.settings import Settings

NOT_KEPT = "the history did not keep the record"

# The record, and in the same statement what is judged: whether a plain table keeps it (the file may
# have put a rule or a trigger there, or a view in its place); whether the transaction is still the
# one that was begun for the file: only that is deferrable; and the transaction's number, to ask for
# its end by. PostgreSQL sets the two flags with the first rule or trigger, and only VACUUM takes
# them back: where one is set, `judge` looks more closely. (That looks at three catalogues, and
# planning it takes longer than writing the record.)
_RECORD = b"""\
INSERT INTO %(history)b (version, checksum, tokens, applied_at, applied_by, duration_ms,
    out_of_order, how, fingerprint)
VALUES (%(version)b, %(checksum)b, %(tokens)b, pg_catalog.clock_timestamp(), CURRENT_USER,
    %(duration)b, %(out_of_order)b, %(how)b, %(fingerprint)b)
RETURNING %(plain)b, pg_catalog.current_setting('transaction_deferrable')
    OPERATOR(pg_catalog.=) 'on', pg_catalog.pg_current_xact_id();
"""
_UNRECORD = b"""\
DELETE FROM %(history)b WHERE version OPERATOR(pg_catalog.=) %(version)b
RETURNING %(plain)b, pg_catalog.current_setting('transaction_deferrable')
    OPERATOR(pg_catalog.=) 'on', pg_catalog.pg_current_xact_id();
"""
_IS_PLAIN = b"""\
(SELECT c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT (c.relhasrules OR c.relhastriggers)
   FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) %(name)b::pg_catalog.regclass)"""

# For how long the server has worked on the message that this stands in, in ms.
SERVER_DURATION = b"""\
(extract(epoch FROM pg_catalog.clock_timestamp()
    OPERATOR(pg_catalog.-) pg_catalog.statement_timestamp()) OPERATOR(pg_catalog.*) 1000)::bigint"""


def record(  # noqa: PLR0913 - what a row of history holds, each by its name
    settings: Settings,
    migration: Migration,
    *,
    tokens: str,
    out_of_order: bool,
    duration: bytes = SERVER_DURATION,
    how: How = How.RUN,
    fingerprint: str | None = None,
    table_is_plain: bool = False,
) -> bytes:
    """Give the statement that records a migration; `judge` reads the row that it returns.

    `duration` is an expression in ms; `table_is_plain` says that nothing can have changed the table
    since it was looked at, so that it need not be looked at again.
    """
    values = {
        b"history": _history(settings),
        b"plain": b"true" if table_is_plain else _IS_PLAIN % {b"name": _name(settings)},
        b"version": _literal(migration.version),
        b"checksum": _literal(migration.checksum),
        b"tokens": _literal(tokens),
        b"duration": duration,
        b"out_of_order": b"true" if out_of_order else b"false",
        b"how": _literal(how.value),
        b"fingerprint": b"NULL" if fingerprint is None else _literal(fingerprint),
    }
    return _RECORD % values


def unrecord(settings: Settings, version: str, *, table_is_plain: bool = False) -> bytes:
    """Give the statement that takes the record of a version away; `judge` reads its row."""
    return _UNRECORD % {
        b"history": _history(settings),
        b"plain": b"true" if table_is_plain else _IS_PLAIN % {b"name": _name(settings)},
        b"version": _literal(version),
    }


def _history(settings: Settings) -> bytes:
    return _identifier(settings.history_schema, settings.history_table)


def _name(settings: Settings) -> bytes:
    """Give the history table as a literal, for regclass."""
    return b"'%s'" % _history(settings)


@cache
def _identifier(*names: str) -> bytes:
    """Quote a name; the same one for every record of a run."""
    return sql.Identifier(*names).as_bytes(None)


def _literal(text: str) -> bytes:
    """Quote a text that means the same under every setting. Raises ValueError when it would not."""
    if "'" in text or "\\" in text:
        raise ValueError(f"no literal of a record may hold a quote: {text!r}")
    return b"'%s'" % text.encode()


# What a statement that is no record is judged by; run it with an empty search_path.
_JUDGE = (
    b"SELECT %b, pg_catalog.current_setting('transaction_deferrable') = 'on', "
    b"pg_catalog.pg_current_xact_id();\n"
)


def judging(kept: bytes) -> bytes:
    """Give the statement whose row `Judged.of` reads; `kept` says whether it is noted."""
    return _JUDGE % kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the server says of a record before it is committed."""

    kept: bool
    same_transaction: bool
    transaction: int

    @classmethod
    def of(cls, row: tuple[str | None, ...]) -> Judged:
        """Read the row that `record` or `judging` gives, as text."""
        kept, same, transaction = row
        return cls(
            kept=kept == "t", same_transaction=same == "t", transaction=int(transaction or 0)
        )


def judge(  # noqa: PLR0913 - a record, and where its result is
    connection: Connection,
    settings: Settings,
    version: str,
    reply: Reply,
    index: int,
    *,
    removed: bool = False,
) -> Judged:
    """Read what the server says of a record, from one result; ask again where a flag leaves doubt.

    `removed` says that the record was taken away (`unrecord`).

    The transaction of the record is still open, and stays as it is.
    """
    if not reply.results[index].ntuples:
        # A trigger took the row away before it was written.
        return Judged(kept=False, same_transaction=True, transaction=0)
    judged = Judged.of(reply.row(index))
    if judged.kept:
        return judged
    rows = 0 if removed else 1
    return replace(judged, kept=_is_kept(connection, settings, version, rows))


def is_replaced(error: psycopg.Error) -> bool:
    """Say whether a record failed because a rule of the table puts something else in its place."""
    refused = isinstance(error, psycopg.errors.FeatureNotSupported)
    return refused and error.diag.source_file == "rewriteHandler.c"


# ROLLBACK TO takes search_path back to what it was.
_LOOK_CLOSELY = b"""\
SAVEPOINT headwater_look; SET LOCAL search_path = '';
SELECT (SELECT count(*) FROM %(history)b WHERE version = %(version)b) = %(rows)b
   AND EXISTS (SELECT FROM pg_catalog.pg_class c
                WHERE c.oid = %(name)b::pg_catalog.regclass AND c.relkind = 'r'
                  AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)
                  AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                                   WHERE t.tgrelid = c.oid AND NOT t.tgisinternal));
ROLLBACK TO headwater_look; RELEASE headwater_look;
"""


def _is_kept(connection: Connection, settings: Settings, version: str, rows: int) -> bool:
    values = {
        b"history": _history(settings),
        b"name": _name(settings),
        b"version": _literal(version),
        b"rows": b"%d" % rows,
    }
    reply = send(connection, _LOOK_CLOSELY % values)
    if reply.error is not None:
        raise reply.error
    return reply.row(2) == ("t",)
