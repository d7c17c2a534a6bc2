"""The parts of a fix: what is spliced into a statement, and what is written behind its file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from headwater.files.grammar import Statement, quoted
from headwater.files.locks import Named


class Phase(IntEnum):
    """Where a statement of the safe sequence stands: each is a file, in this order."""

    FILE = 0
    """The file itself."""
    OUTSIDE = 1
    """Without a transaction: CONCURRENTLY."""
    BEHIND = 2
    """What needs the indexes that were built there."""
    VALIDATE = 3
    """Every row is read, while reads and writes go on."""


class Sort(StrEnum):
    """What is moved, by what may come to depend on it."""

    VALIDATE = "validate"
    REQUIRED = "required"
    """NOT NULL, which keys and identity columns ask for."""
    INDEX = "index"
    UNIQUE = "unique"
    DROP_INDEX = "drop index"
    REINDEX = "reindex"
    DETACH = "detach"
    FOLLOWS = "follows"
    """It needs something else that is moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A splice: what stands between two offsets of a text becomes another text."""

    start: int
    end: int
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A statement of the safe sequence, without its semicolon."""

    phase: Phase
    sql: str
    undo: str = ""
    """What takes it back; empty where nothing needs to."""


class CannotFix(Exception):
    """Why a statement is left as it is, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What becomes of one statement: spliced where it stands, or gone from the file."""

    statement: Statement
    sorts: frozenset[Sort]
    pieces: tuple[Piece, ...] = ()
    edits: tuple[Edit, ...] = ()
    leaves: bool = False
    """Nothing of it stays in the file."""
    tables: frozenset[Named] | None = frozenset()
    """Those that it is about; None where its text does not say."""
    names: frozenset[str] = frozenset()
    """What it makes or drops later than its file did."""
    keys: tuple[tuple[Named, tuple[str, ...], bool], ...] = ()
    """Unique keys that come later: table, columns, and whether it is the primary one."""

    @property
    def first(self) -> Phase:
        """Give where the first of it stands."""
        return min(piece.phase for piece in self.pieces) if self.leaves else Phase.FILE

    @property
    def last(self) -> Phase:
        """Give where the last of it stands."""
        return max((piece.phase for piece in self.pieces), default=Phase.FILE)


def spliced(text: str, edits: Iterable[Edit], start: int = 0, end: int | None = None) -> str:
    """Give a part of a text with splices, whose offsets are those of the whole text."""
    parts, at = list[str](), start
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:end]])


def words_like(statement: Statement) -> Callable[[str], str]:
    """Give what writes key words as a statement does: `alter table` or `ALTER TABLE`."""
    return str.upper if statement.text[:1].isupper() else str


def relation_text(named: Named) -> str:
    """Write the name of a relation as SQL."""
    return ".".join(quoted(part) for part in named if part)


def list_text(names: Sequence[str]) -> str:
    """Write a list of names as SQL, in parentheses."""
    return f"({', '.join(map(quoted, names))})"


def mentions(text: str, name: str) -> bool:
    """Say whether a text speaks of a name, as a word of its own."""
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE) is not None
