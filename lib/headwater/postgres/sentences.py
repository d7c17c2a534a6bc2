"""Asking the server whether sentences hold: post-conditions of a file, checks of a schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from headwater.model import Finding
from headwater.postgres.connect import Connection

if TYPE_CHECKING:
    from headwater.files.accepted import Sentence


def first_broken(connection: Connection, sentences: Sequence[Sentence]) -> Finding | None:
    """Ask one after the other inside a transaction, up to the first that does not hold."""
    return next((f for s in sentences if (f := ask(connection, s)) is not None), None)


def ask(connection: Connection, sentence: Sentence) -> Finding | None:
    """Ask one sentence: exactly one row, true, or else a finding that says what came instead."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sentence.query.encode())
            rows = cursor.fetchmany(2)
    except psycopg.Error as error:
        answer = error.diag.message_primary or str(error).strip()
        return _finding(sentence, f"could not be asked: {answer}")
    # A count of 1 equals True in Python; it is no boolean.
    if len(rows) == 1 and rows[0][0] is True:
        return None
    return _finding(sentence, f"does not hold ({_answer(rows)})")


def _answer(rows: list[tuple[Any, ...]]) -> str:
    if len(rows) != 1:
        return "no row" if not rows else "more than one row"
    value = rows[0][0]
    if value is None or value is False:
        return "null" if value is None else "false"
    return f"{value!r} is no boolean"


def _finding(sentence: Sentence, what: str) -> Finding:
    return Finding(
        rule="sentence",
        message=f"“{sentence.sentence}” {what}",
        file=sentence.file,
        line=sentence.line,
        source=sentence.query,
    )
