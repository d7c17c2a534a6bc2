"""Directives: instructions to Headwater in comments, `-- headwater: NAME [VALUE]`.

`no-transaction` and `lock-timeout` stand in the header, the comments before the first statement;
`allow RULE because REASON` stands above the statement that it covers. A header is comments by
construction, so it is read without a parser; everything below it is judged by `misplaced`, with
comments that a parser has found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from headwater.model import Directive, Finding

HEADER_NAMES = ("no-transaction", "lock-timeout")

_DIRECTIVE = re.compile(r"--\s*headwater\b\s*(?P<colon>:?)\s*(?P<body>.*?)\s*", re.IGNORECASE)
_ALLOW = re.compile(r"allow\s+(?P<rules>[a-z0-9-]+(?:\s*,\s*[a-z0-9-]+)*)\s+because\s+\S.*")
_VALUE = re.compile(r"[0-9]+(?:\.[0-9]+)?\s*(?:ms|s|min)")

# How other tools say "run this outside a transaction", whole comments only. Here they would be
# plain comments, and the file would run in a transaction after all.
_FOREIGN_NO_TRANSACTION = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"-- *\+goose +no +transaction",  # goose
        r"-- *migrate:(?:up|down) +transaction:false",  # dbmate
        r"-- *no-?transaction",  # sqlx, rambler
        r"--! *no-transaction",  # graphile-migrate
        r"-- *atlas:txmode +none",  # Atlas
        r"-- *\+migrate +(?:up|down) +notransaction",  # sql-migrate
        r"---- *tern: *disable-tx *----",  # tern
        r"-- *x-no-tx-wrap(?: *[:=] *true)?",  # golang-migrate
        r"-- *(?:flyway:)? *executeInTransaction *[:=] *false",  # Flyway
        r"-- *runInTransaction *[:=] *false",  # Liquibase
        r"-- *changeset +.*runInTransaction:false.*",
        r"-- *disable_ddl_transaction!?",  # Rails
        r"-- *(?:transaction|use_transaction) *[:=] *(?:false|off|no)",
    )
)

# How other tools put the undo into the same file. Sent whole, it would undo what it just did.
_FOREIGN_DOWN = re.compile(
    r"-- *(?:migrate:down\b.*|\+(?:goose|migrate|micrate|refinery) +down\b.*|rambler +down"
    r"|@down|\+down|down|rollback)|-- *--+ *(?:create above / drop below) *--+|--//@undo",
    re.IGNORECASE,
)


def read_header(text: str) -> tuple[Directive, ...]:
    """Read the directives among the leading `--` comments of a text."""
    if "eadwater" not in text and "EADWATER" not in text:
        return ()
    return tuple(
        Directive(name=name, value=value.strip(), line=number)
        for number, line in _header_lines(text)
        if (match := _DIRECTIVE.fullmatch(line))
        for name, _, value in [match["body"].partition(" ")]
    )


def _header_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("--"):
            return
        yield number, stripped


def faults(comments: Iterable[tuple[int, str]], file: str, first_statement: int) -> list[Finding]:
    """Judge every comment of a file: unknown, misplaced and foreign directives.

    `comments` are line and text, as the parser found them; `first_statement` is the line of the
    first statement, 0 when there is none.
    """
    findings = []
    for line, comment in comments:
        for rule, message, hint in _judge(comment, in_header=line < first_statement):
            findings.append(Finding(rule=rule, message=message, file=file, line=line, column=1,
                                    hint=hint, source=comment.partition("\n")[0]))  # fmt: skip
    return findings


def _judge(comment: str, *, in_header: bool) -> Iterator[tuple[str, str, str]]:
    if any(pattern.fullmatch(comment.strip()) for pattern in _FOREIGN_NO_TRANSACTION):
        yield (
            "foreign-directive",
            "this is another tool's spelling of no-transaction, and has no effect here",
            "write: -- headwater: no-transaction",
        )
    elif _FOREIGN_DOWN.fullmatch(comment.strip()):
        yield (
            "foreign-directive",
            "this is another tool's border between do and undo; the file would undo itself",
            "move what stands below into VERSION.down.sql beside the file",
        )
    if comment.startswith("/*"):
        if re.match(r"/\*+\s*headwater\s*:", comment, re.IGNORECASE):
            yield ("directive", "a directive is a -- comment", "write: -- headwater: …")
        return
    match = _DIRECTIVE.fullmatch(comment.strip())
    # Prose may begin with the product's name; only a colon or a known word makes a directive.
    if match and (match["colon"] or match["body"].split(" ")[0] in (*HEADER_NAMES, "allow")):
        fault = _fault_of_directive(match["body"], has_colon=bool(match["colon"]), in_header=in_header)
        if fault:
            yield ("directive", fault, "docs/migration-files.md lists the directives")


def _fault_of_directive(body: str, *, has_colon: bool, in_header: bool) -> str:
    name, _, value = body.partition(" ")
    if not has_colon:
        return f"a directive needs its colon: -- headwater: {name}"
    if name == "allow":
        if not _ALLOW.fullmatch(body):
            return "allow is written: -- headwater: allow RULE because REASON"
        return ""
    if name not in HEADER_NAMES:
        return f"there is no directive {name!r}; known: {', '.join((*HEADER_NAMES, 'allow'))}"
    if not in_header:
        return f"{name} belongs into the header, before the first statement"
    if name == "no-transaction" and value:
        return "no-transaction takes no value"
    if name == "lock-timeout" and not _VALUE.fullmatch(value.strip()):
        return "lock-timeout is written: -- headwater: lock-timeout 2s"
    return ""
