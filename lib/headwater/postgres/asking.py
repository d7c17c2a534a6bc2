"""Asking the rows of a target: one question, one short transaction that may only read.

A transaction for each, so that no lock on a table and no old snapshot outlives its answer: either
would hold up what others do there. A question that takes too long is given up; values of rows never
leave the server, only how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from headwater.files.demands import Demand
from headwater.files.locks import Named
from headwater.postgres.asked_tables import Lookup
from headwater.postgres.connect import Connection, only_catalog_names, pins
from headwater.postgres.questions import Question, questions_for
from headwater.postgres.translate import session_ended, translated, translation

# How many rows are counted at most: that it is many is all that a larger number says.
MOST = 1_000
# How many of them the example lists.
_LISTED = 20

# Where nothing is wrong, which is the rule, LIMIT is never reached: a plan that begins fast, and
# looks up row after row, is the slow one then.
_WHOLE = b"SET LOCAL enable_nestloop = off;"

_VOLATILE = """
SELECT DISTINCT pg_catalog.format('%%I.%%I', n.nspname, p.proname)
  FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[]))
       AS called (schema, name)
  JOIN pg_catalog.pg_proc p ON p.proname = called.name AND p.provolatile = 'v'::"char"
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE called.schema = ANY (ARRAY['', n.nspname])
 ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How many rows a question found: up to `MOST`, and `more` where there are others.

    `refused` is PostgreSQL's name of the error that a value has caused, and `note` says why there
    is no answer.
    """

    count: int = 0
    more: bool = False
    refused: str = ""
    note: str = ""


def ask(connection: Connection, question: Question, *, patience_ms: int) -> Answer:
    """Ask one question, in a transaction of its own that only reads.

    What cannot be asked is a note: it took too long, a lock was in the way, the role may not.
    Raises HeadwaterError when the connection is lost.
    """
    try:
        with connection.transaction():
            connection.execute(_local_pins(connection, patience_ms) + _WHOLE)
            row = connection.execute(counting(question)).fetchone()
    except psycopg.Error as error:
        if session_ended(error):
            raise translation(error, "asking the rows") from error
        return _unanswered(error, question, patience_ms)
    found = int(row[0]) if row and question.value is None else 0
    return Answer(count=min(found, MOST), more=found > MOST)


def questions_of(lookup: Lookup, demand: Demand, *, patience_ms: int) -> tuple[Question, ...]:
    """Look up what a demand is about, and give its questions, with names as a file finds them."""
    with translated("looking up the tables"), lookup.connection.transaction():
        lookup.connection.execute(_local_pins(lookup.connection, patience_ms))
        return tuple(questions_for(lookup, demand))


def _local_pins(connection: Connection, patience_ms: int) -> bytes:
    """Give the pins of a file, for one transaction: nothing is left in a session that is shared."""
    pinned = pins(connection, lock_timeout_ms=patience_ms, local=True)
    return pinned + b"SET LOCAL statement_timeout = %d;" % patience_ms


def counting(question: Question) -> sql.Composed:
    """Write the query that counts: of the rows, or of the values when none is known to be bad."""
    if question.value is not None:
        return sql.SQL("SELECT pg_catalog.count({}) {}").format(question.value, question.body)
    return sql.SQL("SELECT pg_catalog.count(*) FROM (SELECT 1 {} LIMIT {}) AS found").format(
        question.body, sql.Literal(MOST + 1)
    )


def example(question: Question) -> str:
    """Write the query that lists some of the rows, to be run by whoever may see them."""
    query = sql.SQL("SELECT {} {} LIMIT {}").format(
        question.value or question.shown or sql.SQL("*"), question.body, sql.Literal(_LISTED)
    )
    return query.as_string(None)


def volatile_among(connection: Connection, functions: Sequence[Named]) -> tuple[str, ...]:
    """Give those of some functions that may do more than compute, or have been left marked so."""
    if not functions:
        return ()
    schemas, names = zip(*functions, strict=True)
    with translated("asking about functions"), only_catalog_names(connection):
        rows = connection.execute(_VOLATILE, (list(schemas), list(names))).fetchall()
    return tuple(name for (name,) in rows)


def _unanswered(error: psycopg.Error, question: Question, patience_ms: int) -> Answer:
    """Say what a failed question means: a value that fails the statement too, or no answer.

    The server's own words would quote the value; those about names (class 42) quote none.
    """
    state = error.diag.sqlstate or ""
    if state[:2] in ("22", "23") and question.risky:
        return Answer(count=1, more=True, refused=type(error).__name__)
    match error:
        case errors.QueryCanceled():
            note = f"no answer within {patience_ms / 1000:g} s"
        case errors.LockNotAvailable():
            note = "somebody holds a lock on it"
        case errors.InsufficientPrivilege() if any(t.hidden for t in question.reads):
            note = "row security hides rows of it from this role"
        case errors.InsufficientPrivilege():
            note = "this role may not read it"
        case errors.ReadOnlySqlTransaction():
            note = "the expression would write"
        case _ if state.startswith("42"):
            note = error.diag.message_primary or type(error).__name__
        case _:
            note = type(error).__name__
    return Answer(note=note)
