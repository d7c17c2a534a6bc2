"""PostgreSQL's own grammar: the one module that knows the parser (postgast, libpg_query 18).

A text becomes a `Script`: its statements with their places, and its comments. Everything that is
refused or measured later is decided on this, never by searching the text.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import threading
import unicodedata
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import chain
from typing import Any, TypeAlias

import postgast
from postgast import pg_query_pb2

from headwater.files.text import Places

_COMMENTS = (pg_query_pb2.SQL_COMMENT, pg_query_pb2.C_COMMENT)

COPY_FAULT = "COPY … FROM STDIN carries data that only psql can send"
COPY_HINT = "write INSERT statements (pg_dump --inserts)"
INVISIBLE_HINT = "retype the blank; a name that needs the character stands in quotes"

# Unicode's blanks, line ends, and characters that only steer how others are shown.
_UNSEEN = ("Zs", "Zl", "Zp", "Cf", "Cc")

# Tokens as kind, UTF-8 text and byte offset.
_Tokens: TypeAlias = tuple[tuple[int, bytes, int], ...]

# Imported by name: protobuf carries no type stubs, and is here only because postgast needs it.
_DecodeError: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
_depth_is_lifted = threading.Lock()

# What PostgreSQL takes for a part of a name: everything beyond ASCII, blanks and invisible
# characters included. https://www.postgresql.org/docs/18/sql-syntax-lexical.html
# (A text: compiling it takes milliseconds, and only an error asks.)
_NAME = "[A-Za-z0-9_$\u0080-\U0010ffff]*"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class NotParsed(ValueError):
    """The text is not SQL that PostgreSQL would accept; `position` counts characters from 0.

    `rule` is the rule of lint that it breaks.
    """

    def __init__(
        self, message: str, position: int, hint: str = "", *, rule: str = "syntax"
    ) -> None:
        super().__init__(message)
        self.rule = rule
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
    origin: int = 0
    """The byte of the file from which the locations in its tree count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """One comment with its marks; `line` and `column` count from 1."""

    text: str
    line: int
    column: int
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token of a statement: a word, a sign, a literal. `start` and `end` count characters.

    `location` is where it begins in bytes, as the nodes of a parse tree say it.
    """

    text: str
    start: int
    end: int
    location: int

    def is_word(self, *words: str) -> bool:
        """Say whether it is one of these key words, which are given in lower case."""
        return self.text.lower() in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action of an ALTER TABLE, as a statement of its own; where it stands in the file."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Script:
    """A text that the grammar accepts."""

    text: str
    statements: tuple[Statement, ...]

    @cached_property
    def _tokens(self) -> _Tokens:
        """Every token as kind, text and byte offset; the scanner counts in bytes."""
        return _scan(self.text)

    @cached_property
    def places(self) -> Places:
        """Give the lines and columns of positions."""
        return Places(self.text)

    @cached_property
    def invisible(self) -> tuple[tuple[int, str], ...]:
        """Every invisible character inside an unquoted name, as position and what it is.

        PostgreSQL takes them for letters: `id<U+00A0>int` is one name, that nobody can type again.
        """
        return () if self.text.isascii() else tuple(_invisible_in_names(self.text, self._tokens))

    @cached_property
    def comments(self) -> tuple[Comment, ...]:
        """Every comment, as the scanner finds it: not those that a string or a body holds."""
        if "--" not in self.text and "/*" not in self.text:
            return ()
        offsets = _Offsets(self.text)
        found = []
        for kind, raw, start in self._tokens:
            if kind in _COMMENTS:
                position = offsets.characters(start)
                line, column = self.places.of(position)
                found.append(Comment(text=raw.decode(), line=line, column=column, start=position))
        return tuple(found)

    def tokens_of(self, statement: Statement) -> tuple[Token, ...]:
        """Give the tokens of one statement, without comments."""
        offsets = _Offsets(self.text)
        begin = len(self.text[: statement.start].encode())
        end = begin + len(statement.text.encode())
        tokens = list[Token]()
        for kind, word, at in self._tokens:
            if begin <= at < end and kind not in _COMMENTS:
                start = offsets.characters(at)
                text = word.decode()
                tokens.append(Token(text=text, start=start, end=start + len(text), location=at))
        return tuple(tokens)

    def actions_of(self, statement: Statement) -> tuple[Action, ...]:
        """Give the actions of an ALTER TABLE, each where it stands; none of any other statement."""
        if statement.kind != "alter_table_stmt":
            return ()
        tokens = self.tokens_of(statement)
        first = _behind_name(tokens, statement.node.relation.location)
        head = self.text[statement.start : tokens[first].start]
        found, depth, begin = list[Action](), 0, first
        for number in range(first, len(tokens) + 1):
            word = tokens[number].text if number < len(tokens) else ","
            depth += (word in ("(", "[")) - (word in (")", "]"))
            if word == "," and not depth:
                start, end = tokens[begin].start, tokens[number - 1].end
                found.append(Action(text=head + self.text[start:end], start=start, end=end))
                begin = number + 1
        return tuple(found)

    @cached_property
    def token_checksum(self) -> str:
        """Give the checksum of the tokens without comments and blanks: `tok-1:…`."""
        return _token_checksum(self._tokens)


def token_checksum(text: str) -> str:
    """Give the checksum of the tokens of a text that the grammar has accepted: `tok-1:…`."""
    return _token_checksum(_scan(text))


def _token_checksum(tokens: _Tokens) -> str:
    """Rule 1: SHA-256 over the UTF-8 text of each token followed by a NUL byte.

    Two texts with one checksum mean the same to PostgreSQL.
    """
    words = [raw + b"\x00" for kind, raw, _ in tokens if kind not in _COMMENTS]
    return f"tok-1:{hashlib.sha256(b''.join(words)).hexdigest()}"


def parse(text: str) -> Script:
    """Parse a normalised text. Raises NotParsed at the first place the grammar refuses."""
    try:
        tree = _tree(text)
    except postgast.PgQueryError as error:
        # The parser counts characters from 1 (its documentation says bytes; measured).
        raise _explained(text, str(error.message), max((error.cursorpos or 1) - 1, 0)) from None
    except _DecodeError:
        raise NotParsed("an expression is nested too deeply to be read", 0) from None
    offsets, places = _Offsets(text), Places(text)
    statements = []
    for raw in tree.stmts:
        start = offsets.characters(raw.stmt_location)
        end = offsets.characters(raw.stmt_location + raw.stmt_len) if raw.stmt_len else len(text)
        kind = raw.stmt.WhichOneof("node")
        line, column = places.of(start)
        statements.append(
            Statement(
                kind=kind,
                text=text[start:end].rstrip(),
                start=start,
                end=end,
                line=line,
                column=column,
                node=getattr(raw.stmt, kind),
            )
        )
    return Script(text=text, statements=tuple(statements))


# --- DO blocks --------------------------------------------------------------------------------


class Ends(StrEnum):
    """What in a block is no SQL of its own: the kinds of such statements."""

    COMMIT = "commit"
    ROLLBACK = "rollback"


def parse_block(script: Script, block: Statement) -> tuple[Statement, ...]:
    """Give the SQL that stands in a DO block, each statement at its place in the file.

    Static statements, and EXECUTE of one constant; COMMIT and ROLLBACK, of the kinds of `Ends`.
    Conditions and what an EXECUTE puts together are not looked into. None for a block in another
    language, in a string with escapes, or that the parser of PL/pgSQL gives up (it knows no types
    of a schema of one's own): only running it shows what it does.
    """
    parts = {part.def_elem.defname: part.def_elem for part in block.node.args}
    language = parts["language"].arg.string.sval if "language" in parts else "plpgsql"
    if "as" not in parts or language != "plpgsql":
        return ()
    body = str(parts["as"].arg.string.sval)
    places = Places(script.text)
    start = _start_of_body(script.text, places.character(parts["as"].location), body)
    if start is None:
        return ()
    try:
        tree = postgast.parse_plpgsql(script.text[block.start : block.end])
    except (postgast.PgQueryError, ValueError, NotImplementedError):
        return ()
    found = _Body(places, body, start)
    for kind, line, query in _in_block(tree, 1):
        found.add(kind, line, query)
    return tuple(sorted(found.statements, key=lambda statement: statement.start))


def _start_of_body(text: str, opening: int, body: str) -> int | None:
    """Find where a body begins behind its opening quote; None where it is not written literally."""
    quote = re.compile(r"\$\w*\$|'").match(text, opening)
    if quote is None or not text.startswith(body + quote[0], quote.end()):
        return None
    return quote.end()


_BlockPart: TypeAlias = tuple[str, int, str]


def _in_block(tree: Any, line: int) -> Iterator[_BlockPart]:
    """Walk the tree of a block: give kind, line in the body, and text of what is run in it."""
    if isinstance(tree, list):
        for item in tree:
            yield from _in_block(item, line)
    elif isinstance(tree, dict):
        for name, value in tree.items():
            if isinstance(value, (dict, list)):
                here = value.get("lineno", line) if isinstance(value, dict) else line
                yield from _run_by(name, value, here)
                yield from _in_block(value, here)


def _run_by(name: str, value: Any, line: int) -> Iterator[_BlockPart]:
    if name in ("PLpgSQL_stmt_commit", "PLpgSQL_stmt_rollback"):
        yield name.removeprefix("PLpgSQL_stmt_"), line, ""
    elif name == "PLpgSQL_stmt_dynexecute":
        query = str(value["query"]["PLpgSQL_expr"]["query"])
        if constant := _CONSTANT.fullmatch(query):
            yield "", line, constant["plain"] or constant["dollar"] or ""
    elif name == "PLpgSQL_expr" and value.get("parseMode", 0) == 0:
        yield "", line, str(value["query"])


# The text of an EXECUTE that is one string without escapes.
_CONSTANT = re.compile(r"'(?P<plain>[^'\\]*)'|(?P<tag>\$\w*\$)(?P<dollar>.*)(?P=tag)", re.DOTALL)


class _Body:
    """The body of a block, while the places of its statements are looked for."""

    def __init__(self, places: Places, body: str, start: int) -> None:
        self.places, self.body, self.start = places, body, start
        self.first_line = places.of(start)[0]
        self.taken: set[int] = set()
        self.statements: list[Statement] = []

    def add(self, kind: str, line: int, query: str) -> None:
        """Add one statement when it is found where it is said to be, and is SQL."""
        position = self._find(line, query or kind, words=not query)
        if position is None:
            return
        self.taken.add(position)
        here = self.start + position
        if kind:
            self._put(kind, query or kind, here, None)
            return
        try:
            [raw] = _tree(query).stmts
        except (postgast.PgQueryError, _DecodeError, ValueError):
            return
        kind = raw.stmt.WhichOneof("node")
        self._put(kind, query, here, getattr(raw.stmt, kind))

    def _put(self, kind: str, text: str, start: int, node: Any) -> None:
        # SELECT is a letter shorter than the PERFORM that it stands for.
        perform = self.places.text[start - 1 : start + 6].lower() == "perform"
        line, column = self.places.of(start - perform)
        self.statements.append(
            Statement(
                kind=kind,
                text=text.rstrip(),
                start=start,
                end=start + len(text),
                line=line,
                column=column,
                node=node,
                origin=self.places.byte(start),
            )
        )

    def _find(self, line: int, query: str, *, words: bool) -> int | None:
        """Find a text from its line on. INTO is blanked in it, and PERFORM is written SELECT."""
        begin = max(self.places.start_of(self.first_line + line - 1) - self.start, 0)
        probe = query if words else query.removeprefix("SELECT ")
        first = probe.split(maxsplit=1)[0] if probe.strip() else ""
        shift = probe.index(first) if first else 0
        for match in re.finditer(re.escape(first), self.body[begin:], re.IGNORECASE):
            position = begin + match.start() - shift
            if position not in self.taken and self._is(position, probe, words=words):
                return position - (len(query) - len(probe))
        return None

    def _is(self, position: int, probe: str, *, words: bool) -> bool:
        there = self.body[position : position + len(probe)]
        if words:
            return there.lower() == probe
        return len(there) == len(probe) and all(
            wanted in (found, " ") for wanted, found in zip(probe, there, strict=True)
        )


# --- parse trees ------------------------------------------------------------------------------


def walk(tree: Any) -> Iterator[tuple[str, Any, bool]]:
    """Give every node of a parse tree with its name, and whether a sub-select holds it.

    Slow beside parsing: for the few statements that a word in their text has picked out.
    """
    stack = [(tree, False)]
    while stack:
        node, inside = stack.pop()
        name = node.DESCRIPTOR.name
        if name != "Node":
            yield name, node, inside
        inside = inside or name == "SubLink"
        for descriptor, value in node.ListFields():
            if descriptor.message_type is not None:
                stack += ((one, inside) for one in (value if hasattr(value, "add") else (value,)))


def word_of(node: Any, field: str) -> str:
    """Give the name of the value that a field of an enum type has: `AT_AddColumn`."""
    kind = node.DESCRIPTOR
    if (kind.full_name, field) not in _WORDS:
        values = kind.fields_by_name[field].enum_type.values_by_number
        _WORDS[kind.full_name, field] = {number: one.name for number, one in values.items()}
    return _WORDS[kind.full_name, field][getattr(node, field)]


_WORDS: dict[tuple[str, str], dict[int, str]] = {}


def option_is_on(options: Any, name: str, *, default: bool) -> bool:
    """Read a boolean option as PostgreSQL's defGetBoolean does: one without a value is true.

    Of several by one name the last one counts.
    """
    values = [str(one.def_elem.arg) for one in options if one.def_elem.defname == name]
    return not _OFF.search(values[-1]) if values else default


# How a parse node spells off: the number 0 is an integer without a value.
_OFF = re.compile(r'"(?:false|off)"|^integer \{\s*\}', re.IGNORECASE)


def expression_text(node: Any) -> str:
    """Write an expression of a parse tree as SQL; names that need quotes have them.

    Raises NotParsed for what the parser cannot write again.
    """
    tree = postgast.parse("SELECT NULL")
    tree.stmts[0].stmt.select_stmt.target_list[0].res_target.val.CopyFrom(node)
    try:
        return str(postgast.deparse(tree)).removeprefix("SELECT ")
    except postgast.PgQueryError as error:
        raise NotParsed(f"an expression cannot be written again: {error.message}", 0) from None


def type_text(type_name: Any) -> str:
    """Write a type of the parse tree as SQL: `numeric(10, 2)`, `app.status[]`."""
    cast = postgast.parse("SELECT CAST(NULL AS integer)")
    value = cast.stmts[0].stmt.select_stmt.target_list[0].res_target.val
    value.type_cast.type_name.CopyFrom(type_name)
    return expression_text(value).removeprefix("NULL::")


def quoted(name: str) -> str:
    """Write a name as SQL, with quotes where it needs them: `tags`, `"Tags"`, `"user"`."""
    tree = postgast.parse("select a")
    column = tree.stmts[0].stmt.select_stmt.target_list[0].res_target.val.column_ref
    column.fields[0].string.sval = name
    return str(postgast.deparse(tree)).removeprefix("SELECT ")


def _behind_name(tokens: Sequence[Token], location: int) -> int:
    """Give the number of the token behind a name that begins at a place: `app . t *`."""
    number = next(n for n, token in enumerate(tokens) if token.location == location) + 1
    while number < len(tokens) and tokens[number].text == ".":
        number += 2
    return number + (number < len(tokens) and tokens[number].text == "*")


class _Offsets:
    """Translate byte offsets to characters, each on from the last (`Places` counts anew)."""

    def __init__(self, text: str) -> None:
        self.raw = None if text.isascii() else text.encode()
        self.known = (0, 0)

    def characters(self, offset: int) -> int:
        if self.raw is None:
            return offset
        at, characters = self.known if self.known[0] <= offset else (0, 0)
        characters += len(self.raw[at:offset].decode())
        self.known = (offset, characters)
        return characters


def _tree(text: str) -> Any:
    """Parse, also what is nested deeper than the 100 levels that protobuf reads by default.

    Every `||` is a level of its own: a sum of 25 texts is too deep. The limit guards against
    strangers' messages; this one was made by the parser, which has limits of its own.
    """
    try:
        return postgast.parse(text)
    except _DecodeError:
        with _depth_is_lifted, _any_depth():
            return postgast.parse(text)


@contextmanager
def _any_depth() -> Generator[None]:
    try:
        lift = importlib.import_module("google._upb._message").SetAllowOversizeProtos
    except (ImportError, AttributeError):  # another build of protobuf, which has no such switch
        yield
        return
    lift(True)  # noqa: FBT003
    try:
        yield
    finally:
        lift(False)  # noqa: FBT003


def _scan(text: str) -> _Tokens:
    raw = text.encode()
    return tuple(
        (token.token, raw[(start := token.start) : token.end], start)
        for token in postgast.scan(text).tokens
    )


def _invisible_in_names(text: str, tokens: _Tokens) -> Iterator[tuple[int, str]]:
    offsets = _Offsets(text)
    for kind, raw, start in tokens:
        if kind == pg_query_pb2.IDENT and not raw.isascii() and not raw.startswith(b'"'):
            yield from _invisible(raw.decode(), offsets.characters(start))


def _invisible(name: str, position: int) -> Iterator[tuple[int, str]]:
    for offset, character in enumerate(name):
        if not character.isascii() and unicodedata.category(character) in _UNSEEN:
            yield position + offset, _called(character)


def _called(character: str) -> str:
    name = unicodedata.name(character, "unnamed")
    return f"an invisible character, U+{ord(character):04X} {name}"


def _explained(text: str, message: str, position: int) -> NotParsed:
    """Say what a person would want to know about a refusal: the four usual surprises."""
    seen = _scanned(text, position)
    if (at := _copy_in(seen)) is not None:
        place = len(text.encode()[:at].decode())
        return NotParsed(COPY_FAULT, place, COPY_HINT, rule="copy-stdin")
    if message.startswith('syntax error at or near "\\'):
        command = text[position:].split(maxsplit=1)[0]
        return NotParsed(f"{command} is a psql command, not SQL", position, "remove it")
    if _CONTROL.match(text, position):
        return NotParsed(_called(text[position]), position, "remove it")
    refused = re.compile(_NAME).match(text, position)
    here = _invisible(refused[0], position) if refused else iter(())
    for where, what in chain(_invisible_in_names(text, seen), here):
        return NotParsed(what, where, INVISIBLE_HINT)
    return NotParsed(_NEAR.sub(_shortened, message), position)


# Where a quote is not closed, the parser quotes all that is left of the text.
_NEAR = re.compile(r'(?<= at or near ").*(?="$)', re.DOTALL)
_LONGEST_NEAR = 60


def _shortened(near: re.Match[str]) -> str:
    first = re.split("[\r\n]", near[0], maxsplit=1)[0][:_LONGEST_NEAR]
    return first if first == near[0] else f"{first} …"


def _scanned(text: str, end: int) -> _Tokens:
    """Give the tokens up to a place; none when the place is inside one that is not closed."""
    try:
        return _scan(text[:end])
    except postgast.PgQueryError:
        return ()


def _copy_in(tokens: _Tokens) -> int | None:
    """Give the byte offset of a COPY … FROM STDIN: what follows it is data, and no SQL."""
    begins, previous = None, pg_query_pb2.ASCII_59
    for kind, _, start in tokens:
        if kind in _COMMENTS:
            continue
        if previous == pg_query_pb2.ASCII_59:
            begins = start if kind == pg_query_pb2.COPY else None
        if begins is not None and (previous, kind) == (pg_query_pb2.FROM, pg_query_pb2.STDIN):
            return begins
        previous = kind
    return None
