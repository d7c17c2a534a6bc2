"""Directives: instructions to Headwater in comments, `-- headwater: NAME [VALUE]`.

`no-transaction` and `lock-timeout` stand in the header, the comments before the first statement;
`allow RULE because REASON` stands above the statement that it covers. A header is comments by
construction, so it is read without a parser; everything below it is judged by `faults`, with
comments that a parser has found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.files.text import count_lines
from headwater.model import Directive
from headwater.settings_forms import milliseconds

HEADER_NAMES = ("no-transaction", "lock-timeout")

_DIRECTIVE = re.compile(r"--[ \t]*headwater:\s*(?P<name>\S*)\s*(?P<value>.*?)\s*")
_ALLOW = re.compile(r"(?P<rules>[a-z0-9-]+(?:\s*,\s*[a-z0-9-]+)*)\s+because\s+\S.*")

# What was meant to be a directive: the name with a colon, or with one of the words behind it.
# Prose may begin with the product's name, too.
_MEANT = re.compile(
    r"(?:--|/\*)[^\w\n]*head-?water(?:\s*[:=;]|[^\w\n]+(?:no.?transaction|lock.?timeout|allow)\b)",
    re.IGNORECASE,
)

# What may stand before the first statement: blanks as PostgreSQL knows them, and comments.
_BEFORE_STATEMENTS = re.compile(r"[ \t\n\r\f\v]+|(?P<comment>--[^\n\r]*)|(?P<block>/\*)")
_BLOCK_BORDER = re.compile(r"/\*|\*/")

# How other tools say "run this outside a transaction", whole comments only. Here they would be
# plain comments, and the file would run in a transaction after all. (Texts, not compiled: most
# runs never ask.)
_FOREIGN_NO_TRANSACTION = (
    r"-- *\+goose +no +transaction",  # goose
    r"-- *migrate:(?:up|down) +transaction:false",  # dbmate
    r"--\W*(?:(?!head-?water)[\w.-]+ *:)? *no[-_ ]?transaction",  # sqlx, graphile-migrate …
    r"-- *atlas:txmode +none",  # Atlas
    r"-- *\+migrate +(?:up|down) +notransaction",  # sql-migrate
    r"---- *tern: *disable-tx *----",  # tern
    r"-- *x-no-tx-wrap(?: *[:=] *true)?",  # golang-migrate
    r"-- *(?:flyway:)? *executeInTransaction *[:=] *false",  # Flyway
    r"-- *runInTransaction *[:=] *false",  # Liquibase
    r"-- *changeset +.*runInTransaction:false.*",
    r"-- *disable_ddl_transaction!?",  # Rails
    r"-- *(?:transactional|transaction|use_transaction) *[:=] *(?:false|off|no)",  # yoyo …
)

# How other tools put the undo into the same file. Sent whole, it would undo what it just did.
_FOREIGN_DOWN = (
    r"-- *(?:migrate:down\b.*|\+(?:goose|migrate|micrate|refinery) +down\b.*|rambler +down"
    r"|@down|\+down|down|down migration|!downs|rollback)"
    r"|-- *--+ *create above / drop below *--+|-- *//@undo"
)


# What every directive holds, ours and theirs: where none is, no comment need be looked for.
_TELLTALES = (
    "headwater",
    "head-water",
    "transaction",
    "no-tx",
    "disable-tx",
    "txmode",
    "down",
    "rollback",
    "undo",
    "drop below",
)


def may_hold_directives(text: str) -> bool:
    """Say whether it is worth finding the comments of a text."""
    if "--" not in text and "/*" not in text:
        return False
    lowered = text.lower()
    return any(word in lowered for word in _TELLTALES)


def read_header(text: str) -> tuple[Directive, ...]:
    """Read the directives among the comments before the first statement of a text."""
    if "headwater:" not in text:
        return ()
    return tuple(
        Directive(name=match["name"], value=match["value"], line=line)
        for line, comment in _header(text)
        if (match := _DIRECTIVE.fullmatch(comment))
    )


def line_of_first_statement(text: str) -> int:
    """Give the line where the header ends: of the first thing that is no comment, or past the end.

    `read_header` and `faults` agree by this, whatever the comments look like.
    """
    *_, (line, _) = _header(text)
    return line


def _header(text: str) -> Iterator[tuple[int, str]]:
    """Give line and text of every `--` comment of the header; at last where it ends, and ''."""
    position, line = 0, 1
    while part := _BEFORE_STATEMENTS.match(text, position):
        if part["comment"]:
            yield line, part["comment"].rstrip()
        end = _end_of_block(text, part.end()) if part["block"] else part.end()
        line += count_lines(text, position, end)
        position = end
    yield line + (position == len(text)), ""


def _end_of_block(text: str, position: int) -> int:
    """Find where a block comment ends that was opened before; such comments may hold others."""
    depth = 1
    for border in _BLOCK_BORDER.finditer(text, position):
        depth += 1 if border[0] == "/*" else -1
        if depth == 0:
            return border.end()
    return len(text)


def allowed_rules(comment: str) -> tuple[str, ...]:
    """Give the rules that an `allow` directive names; none for any other comment."""
    directive = _DIRECTIVE.fullmatch(comment.strip())
    allow = _ALLOW.fullmatch(directive["value"]) if directive else None
    if not directive or directive["name"] != "allow" or not allow:
        return ()
    return tuple(re.split(r"\s*,\s*", allow["rules"]))


def faults(comment: str, *, in_header: bool) -> Iterator[tuple[str, str, str]]:
    """Judge one comment that a parser found: give rule, message and hint of what is wrong.

    Wrong are unknown, misplaced and foreign directives. The header ends at
    `line_of_first_statement`.
    """
    comment = comment.strip()
    if any(re.fullmatch(pattern, comment, re.IGNORECASE) for pattern in _FOREIGN_NO_TRANSACTION):
        yield (
            "foreign-directive",
            "this is another tool's spelling of no-transaction, and has no effect here",
            "write: -- headwater: no-transaction",
        )
    elif re.fullmatch(_FOREIGN_DOWN, comment, re.IGNORECASE):
        yield (
            "foreign-directive",
            "this is another tool's border between do and undo; the file would undo itself",
            "move what stands below into VERSION.down.sql beside the file",
        )
    elif fault := _fault_of_comment(comment, in_header=in_header):
        yield ("directive", fault, "docs/migration-files.md lists the directives")


def _fault_of_comment(comment: str, *, in_header: bool) -> str:
    match = _DIRECTIVE.fullmatch(comment)
    if not match:
        written = "a directive is a comment of its own, written: -- headwater: NAME"
        return written if _MEANT.match(comment) else ""
    name, value = match["name"], match["value"]
    if name == "allow":
        written = "allow is written: -- headwater: allow RULE because REASON"
        return "" if _ALLOW.fullmatch(value) else written
    if name not in HEADER_NAMES:
        return f"there is no directive {name!r}; known: {', '.join((*HEADER_NAMES, 'allow'))}"
    if not in_header:
        return f"{name} belongs into the header, before the first statement"
    return _fault_of_value(name, value)


def _fault_of_value(name: str, value: str) -> str:
    if name == "no-transaction":
        return "no-transaction takes no value" if value else ""
    try:
        # No limit at all would hold up everybody who waits behind the file.
        return "" if milliseconds(value) else "a lock-timeout of 0 would wait without end"
    except ValueError as error:
        return f"lock-timeout is written: -- headwater: lock-timeout 2s ({error})"
