"""From the driver's errors to ours.

`place_of_error` says where in the file a statement failed, `facts` what PostgreSQL says about it;
`translated` wraps everything that our own statements may raise.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from headwater.errors import HeadwaterError, LockBusy, OutcomeUnknown, TargetError, Unreachable
from headwater.files.text import line_at, place
from headwater.model import around, caret

if TYPE_CHECKING:
    from headwater.files.grammar import Script, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a file something failed; `line` and `column` count from 1, column 0 is unknown."""

    file: str
    line: int
    column: int
    source: str

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"
        )

    def drawn(self) -> str:
        """Draw the line with a caret under the column."""
        text, column = around(self.source, self.column)
        lines = [text] if text else []
        if text and self.column:
            lines.append(caret(text, column))
        return "\n".join(f"  {line}" for line in lines)


def place_of_error(
    error: psycopg.Error, script: Script, file: str, *, index: int, offset: int
) -> Place:
    """Find the place of an error in the file.

    `index` is the number of statements of the file that succeeded before it; `offset` the length
    in characters of what stood before the file in the message, from which the server counts.
    Without a position it is the line inside a DO block, or else the statement's first line.
    """
    statement = script.statements[min(index, len(script.statements) - 1)]
    position = error.diag.statement_position
    if position is not None and 0 <= int(position) - 1 - offset <= len(script.text):
        line, column = place(script.text, int(position) - 1 - offset)
    else:
        line, column = _line_in_block(error, script, statement)
    return Place(file=file, line=line, column=column, source=line_at(script.text, line))


_BLOCK_LINE = re.compile(r"inline_code_block line (\d+)")


def _line_in_block(error: psycopg.Error, script: Script, statement: Statement) -> tuple[int, int]:
    """Use `PL/pgSQL function inline_code_block line N`: line 1 is that of the opening quote."""
    match = _BLOCK_LINE.search(error.diag.context or "")
    opening = re.search(r"\$\w*\$|'", statement.text)
    if statement.kind != "do_stmt" or not match or not opening:
        return statement.line, statement.column
    first, _ = place(script.text, statement.start + opening.start())
    line = first + int(match[1]) - 1
    text = line_at(script.text, line)
    return line, len(text) - len(text.lstrip()) + 1


def facts(error: psycopg.Error) -> str:
    """Give PostgreSQL's own words: message, detail, hint, context, and the SQLSTATE."""
    diag = error.diag
    lines = [diag.message_primary or str(error).strip()]
    for label, value in (
        ("detail", diag.message_detail),
        ("hint", diag.message_hint),
        ("context", diag.context),
    ):
        if value:
            lines.append(f"{label}: {value}")
    if diag.sqlstate:
        lines.append(f"SQLSTATE {diag.sqlstate}")
    return "\n".join(lines)


def session_ended(error: psycopg.Error) -> bool:
    """Say whether the connection went with this error, so that nobody knows what the server did.

    The driver's own words have no SQLSTATE. The server's (or a pooler's) last ones are FATAL, with
    whatever code; RAISE in a file may use any code, but not that.
    """
    if error.diag.severity_nonlocalized in ("FATAL", "PANIC"):
        return True
    return isinstance(error, psycopg.OperationalError) and not error.diag.sqlstate


@contextmanager
def translated(doing: str) -> Generator[None]:
    """Turn a driver error of our own statements into one sentence that begins with `doing`."""
    try:
        yield
    except psycopg.Error as error:
        raise translation(error, doing) from error


# What is told of our own statements: the errors, how the sentence ends, what to type next. Each
# stands for a state of the target, not for a mistake of ours.
_STATES: tuple[tuple[tuple[type[psycopg.Error], ...], str, str], ...] = (
    (
        (psycopg.errors.InsufficientPrivilege,),
        "the role lacks a right",
        "grant it, or use the role that owns the schema; docs/deploying.md lists the rights",
    ),
    (
        (psycopg.errors.ReadOnlySqlTransaction,),
        "the server or the role is read-only",
        "name the primary in DATABASE_URL, or a role that may write",
    ),
    (
        (psycopg.errors.DiskFull,),
        "the server's disk is full",
        "make room on the server, then run the same command again",
    ),
    (
        (psycopg.errors.TooManyConnections,),
        "all connections are taken",
        "try again when some are closed",
    ),
    (
        # Nothing of ours raises: only an event trigger sees the statements that are told of here.
        (psycopg.errors.RaiseException, psycopg.errors.EventTriggerProtocolViolated),
        "an event trigger of the database refused it",
        "have it let this role through; \\dy in invoke db.psql lists the event triggers",
    ),
)


def translation(error: psycopg.Error, doing: str) -> HeadwaterError:
    """Choose the error that tells a user what to do about a driver's error."""
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
        return LockBusy(
            f"{doing}: a lock was not to be had",
            detail=facts(error),
            hint="try again when the other session is done",
        )
    if "statement pooling" in str(error):  # PgBouncer, of any BEGIN
        return TargetError(
            f"{doing}: this connection goes through a pooler in statement mode",
            detail=facts(error),
            hint="name the server itself, or a pool in session mode",
        )
    if session_ended(error):
        return Unreachable(
            f"{doing}: {_why_it_ended(error)}",
            detail=str(error).strip(),
            hint="invoke status says what is applied",
        )
    for kinds, meaning, hint in _STATES:
        if isinstance(error, kinds):
            return TargetError(f"{doing}: {meaning}", detail=facts(error), hint=hint)
    return TargetError(f"{doing} failed", detail=facts(error))


def _why_it_ended(error: psycopg.Error) -> str:
    """Say who ended the session, as far as the server has said it."""
    match error.diag.sqlstate:
        case "57P01":
            return "the connection was lost: an administrator, or a drop of the database, ended it"
        case "57P02" | "57P03":
            return "the connection was lost: the server is going down"
        case "57P04":
            return "the connection was lost: the database was dropped"
        case _:
            return "the connection was lost"


def advice(error: psycopg.Error) -> str:
    """Give what to type next where a file failed and is not to blame; nothing where it is.

    An event trigger is not among them: what a file raises looks the same.
    """
    for kinds, meaning, hint in _STATES:
        if isinstance(error, kinds) and not isinstance(error, psycopg.errors.RaiseException):
            return f"{meaning}: {hint}"
    return ""


def lost(doing: str, error: BaseException) -> OutcomeUnknown:
    """Say that the connection went at the one moment when it matters."""
    return OutcomeUnknown(
        f"{doing}: the connection was lost around COMMIT, and the server cannot be asked",
        detail=str(error).strip(),
        hint="run invoke status when the server answers again",
    )
