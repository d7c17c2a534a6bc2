"""PostgreSQL's own grammar: the one module that knows the parser (postgast, libpg_query 18).

A text becomes a `Script`: its statements with their places, and its comments. Everything that is
refused or measured later is decided on this, never by searching the text.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import postgast
from postgast import pg_query_pb2

from headwater.files.text import place

_COMMENTS = (pg_query_pb2.SQL_COMMENT, pg_query_pb2.C_COMMENT)

COPY_FAULT = "COPY … FROM STDIN carries data that only psql can send"
COPY_HINT = "write INSERT statements (pg_dump --inserts)"
_COPY_IN = re.compile(r"^[ \t]*copy\b[^;]*\bfrom\s+stdin\b", re.IGNORECASE | re.MULTILINE)


class NotParsed(ValueError):
    """The text is not SQL that PostgreSQL would accept; `position` counts characters from 0."""

    def __init__(self, message: str, position: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement: its kind (`create_stmt` …), its text, its place, and its parse tree.

    `start` and `end` are offsets in characters; `line` and `column` count from 1.
    """

    kind: str
    text: str
    start: int
    end: int
    line: int
    column: int
    node: Any = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """One comment with its marks; `line` and `column` count from 1."""

    text: str
    line: int
    column: int
    start: int


@dataclass(frozen=True, kw_only=True)
class Script:
    """A text that the grammar accepts."""

    text: str
    statements: tuple[Statement, ...]

    @cached_property
    def _tokens(self) -> tuple[tuple[int, str, int], ...]:
        """Every token as kind, text and byte offset; the scanner counts in bytes."""
        raw = self.text.encode()
        return tuple(
            (token.token, raw[token.start : token.end].decode(), token.start)
            for token in postgast.scan(self.text).tokens
        )

    @cached_property
    def comments(self) -> tuple[Comment, ...]:
        """Every comment, as the scanner finds it: not those that a string or a body holds."""
        if "--" not in self.text and "/*" not in self.text:
            return ()
        offsets = _Offsets(self.text)
        found = []
        for kind, text, start in self._tokens:
            if kind in _COMMENTS:
                position = offsets.characters(start)
                line, column = offsets.place(position)
                found.append(Comment(text=text, line=line, column=column, start=position))
        return tuple(found)

    @cached_property
    def token_checksum(self) -> str:
        """Give the checksum of the tokens without comments and blanks: `tok-1:…`.

        Rule 1: SHA-256 over the UTF-8 text of each token followed by a NUL byte. Two texts with
        one checksum mean the same to PostgreSQL.
        """
        digest = hashlib.sha256()
        for kind, text, _ in self._tokens:
            if kind not in _COMMENTS:
                digest.update(text.encode() + b"\x00")
        return f"tok-1:{digest.hexdigest()}"


def parse(text: str) -> Script:
    """Parse a normalised text. Raises NotParsed at the first place the grammar refuses."""
    try:
        tree = postgast.parse(text)
    except postgast.PgQueryError as error:
        # The parser counts characters from 1 (its documentation says bytes; measured).
        raise _explained(text, str(error.message), max((error.cursorpos or 1) - 1, 0)) from None
    offsets = _Offsets(text)
    statements = []
    for raw in tree.stmts:
        start = offsets.characters(raw.stmt_location)
        end = offsets.characters(raw.stmt_location + raw.stmt_len) if raw.stmt_len else len(text)
        kind = raw.stmt.WhichOneof("node")
        line, column = offsets.place(start)
        statements.append(
            Statement(kind=kind, text=text[start:end].rstrip(), start=start, end=end, line=line,
                      column=column, node=getattr(raw.stmt, kind))  # fmt: skip
        )
    return Script(text=text, statements=tuple(statements))


class _Offsets:
    """Translate byte offsets to characters, and characters to places, without rescanning."""

    def __init__(self, text: str) -> None:
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.raw = None if text.isascii() else text.encode()
        self.known = (0, 0)

    def characters(self, offset: int) -> int:
        if self.raw is None:
            return offset
        at, characters = self.known if self.known[0] <= offset else (0, 0)
        characters += len(self.raw[at:offset].decode())
        self.known = (offset, characters)
        return characters

    def place(self, position: int) -> tuple[int, int]:
        line = bisect_right(self.lines, position)
        return line, position - self.lines[line - 1] + 1


def _explained(text: str, message: str, position: int) -> NotParsed:
    """Say what a person would want to know about a refusal: the three usual surprises."""
    line, _ = place(text, position)
    start = text.rfind("\n", 0, position) + 1
    if text[position : position + 1] == "\\" or text[start:].lstrip(" \t").startswith("\\"):
        word = text[start:].split(maxsplit=1)[0]
        return NotParsed(f"{word} is a psql command, not SQL", position, "remove the line")
    if copy := _COPY_IN.search(text, 0, position):
        at = copy.start() + len(copy[0]) - len(copy[0].lstrip())
        return NotParsed(COPY_FAULT, at, COPY_HINT)
    for offset, character in enumerate(text[position:].split(" ", 1)[0].split("\n", 1)[0]):
        if unicodedata.category(character) in ("Zs", "Cf") and character != " ":
            name = unicodedata.name(character, "unnamed")
            invisible = f"an invisible character, U+{ord(character):04X} {name}"
            return NotParsed(invisible, position + offset, "retype the blank")
    return NotParsed(message, position)
