"""What a migration must not hold, decided by grammar before anything runs.

`check` turns a migration into an `Accepted` one, or into every reason why it is not. The reasons
are of three kinds: the text is no SQL, it holds something that would break the promise of its
transaction, or it holds something that cannot run where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headwater.files import directives
from headwater.files.grammar import COPY_FAULT, COPY_HINT, NotParsed, Script, Statement, parse
from headwater.files.sentences import Sentence, read_sentences
from headwater.files.text import line_at, place
from headwater.model import Finding, Migration


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A migration that may run: its parsed script, and its post-condition, sentence by sentence."""

    migration: Migration
    script: Script
    sentences: tuple[Sentence, ...] = ()


def check(migration: Migration) -> Accepted | tuple[Finding, ...]:
    """Parse one migration with its post-condition; give it accepted, or all that is wrong."""
    file = f"{migration.version}.sql"
    script = parse_or_explain(migration.text, file)
    if isinstance(script, Finding):
        return (script,)
    findings = [*_faults(script, file, transactional=migration.transactional)]
    sentences: tuple[Sentence, ...] = ()
    if migration.verify is not None:
        read = read_sentences(migration.verify, f"{migration.version}.verify.sql")
        sentences = read.sentences
        findings += read.findings
    if findings:
        return tuple(findings)
    return Accepted(migration=migration, script=script, sentences=sentences)


def parse_or_explain(text: str, file: str) -> Script | Finding:
    """Parse a text, or say at which line, column and character the grammar refuses it."""
    try:
        return parse(text)
    except NotParsed as error:
        line, column = place(text, error.position)
        return Finding(
            rule="syntax",
            message=error.message,
            file=file,
            line=line,
            column=column,
            hint=error.hint,
            source=line_at(text, line),
        )


def _faults(script: Script, file: str, *, transactional: bool) -> Iterator[Finding]:
    first = script.statements[0].line if script.statements else 10**9
    yield from directives.faults(((c.line, c.text) for c in script.comments), file, first)
    if not script.statements:
        yield Finding(rule="empty", message="the file holds no statement", file=file, line=1, column=1,
                      hint="write it, or delete the file")  # fmt: skip
    for statement in script.statements:
        reason = _refusal(statement, transactional=transactional)
        if reason:
            rule, message, hint = reason
            yield Finding(
                rule=rule,
                message=message,
                file=file,
                line=statement.line,
                column=statement.column,
                hint=hint,
                source=line_at(script.text, statement.line),
            )


def _refusal(statement: Statement, *, transactional: bool) -> tuple[str, str, str] | None:
    """Give rule, message and hint when a statement is refused."""
    node = statement.node
    if statement.kind == "transaction_stmt":
        return (
            "transaction-control",
            f"{_first_words(statement)} would end or split the transaction that makes the file "
            "all or nothing",
            "remove it; Headwater begins and commits",
        )
    if statement.kind == "copy_stmt" and not node.filename and node.is_from:
        return ("copy-stdin", COPY_FAULT, COPY_HINT)
    if statement.kind == "copy_stmt" and not node.filename:
        return ("copy-stdout", "COPY … TO STDOUT sends data to nobody", "remove it")
    if transactional and (what := needs_no_transaction(statement)):
        return (
            "no-transaction",
            f"{what} cannot run in a transaction",
            "give it a file of its own that begins with: -- headwater: no-transaction",
        )
    if not transactional and statement.kind == "index_stmt":
        return _refuse_if_not_exists(statement)
    return None


def _refuse_if_not_exists(statement: Statement) -> tuple[str, str, str] | None:
    """Refuse what would take the invalid index of a failed build for a finished one."""
    if statement.node.concurrent and statement.node.if_not_exists:
        return (
            "concurrently-if-not-exists",
            "IF NOT EXISTS takes the invalid left-over of a failed CONCURRENTLY for a finished index",
            "remove IF NOT EXISTS; a rerun goes on where it stopped",
        )
    return None


# Statements that PostgreSQL runs outside a transaction only, whatever their options.
_ALWAYS_OUTSIDE = {
    "createdb_stmt": "CREATE DATABASE",
    "dropdb_stmt": "DROP DATABASE",
    "create_table_space_stmt": "CREATE TABLESPACE",
    "drop_table_space_stmt": "DROP TABLESPACE",
    "alter_system_stmt": "ALTER SYSTEM",
}


def needs_no_transaction(statement: Statement) -> str:
    """Name the statement when PostgreSQL refuses to run it in a transaction, else ''.

    From the calls of PreventInTransactionBlock in PostgreSQL 15 to 18; what depends on the
    database's state (a partitioned table, a subscription with a slot) is left to the server.
    """
    kind, node = statement.kind, statement.node
    if kind in _ALWAYS_OUTSIDE:
        return _ALWAYS_OUTSIDE[kind]
    if kind == "index_stmt" and node.concurrent:
        return "CREATE INDEX CONCURRENTLY"
    if kind == "drop_stmt" and node.concurrent:
        return "DROP INDEX CONCURRENTLY"
    if kind == "reindex_stmt":
        return _reindex(node)
    if kind == "vacuum_stmt" and node.is_vacuumcmd:
        return "VACUUM"
    if kind == "cluster_stmt" and not node.HasField("relation"):
        return "CLUSTER without a table"
    if kind == "discard_stmt" and _name_of(node, "target") == "DISCARD_ALL":
        return "DISCARD ALL"
    if kind == "create_subscription_stmt" and _makes_slot(node):
        return "CREATE SUBSCRIPTION that makes a slot"
    if kind == "alter_database_stmt" and any(_option_names(node.options, "tablespace")):
        return "ALTER DATABASE … SET TABLESPACE"
    if kind == "alter_table_stmt" and any(
        getattr(command.alter_table_cmd, "def").partition_cmd.concurrent for command in node.cmds
    ):
        return "DETACH PARTITION CONCURRENTLY"
    return ""


def _reindex(node: object) -> str:
    if any(_option_names(node.params, "concurrently")):  # type: ignore[attr-defined]
        return "REINDEX CONCURRENTLY"
    scope = _name_of(node, "kind")
    if scope in ("REINDEX_OBJECT_SCHEMA", "REINDEX_OBJECT_SYSTEM", "REINDEX_OBJECT_DATABASE"):
        return scope.replace("_OBJECT_", " ")
    return ""


def _makes_slot(node: object) -> bool:
    """Say whether CREATE SUBSCRIPTION makes a replication slot: the default unless turned off."""
    for option in node.options:  # type: ignore[attr-defined]
        element = option.def_elem
        if element.defname in ("create_slot", "connect") and "false" in str(element.arg).lower():
            return False
    return True


def _option_names(options: object, name: str) -> Iterator[bool]:
    return (option.def_elem.defname == name for option in options)  # type: ignore[attr-defined]


def _name_of(node: object, enum_field: str) -> str:
    """Give the name of an enum value of a parse node."""
    descriptor = node.DESCRIPTOR.fields_by_name[enum_field]  # type: ignore[attr-defined]
    return str(descriptor.enum_type.values_by_number[getattr(node, enum_field)].name)


def _first_words(statement: Statement) -> str:
    return " ".join(statement.text.split()[:2]).rstrip(";").upper()
