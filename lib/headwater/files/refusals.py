"""What a migration must not hold, decided by grammar before anything runs.

`check` turns a migration into an `Accepted` one, or into every reason why it is not. The reasons
are of three kinds: the text is no SQL, it holds something that would break the promise of its
transaction, or it holds something that cannot run where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from headwater.files import directives
from headwater.files.accepted import Accepted, Sentence
from headwater.files.definitions import only_defines
from headwater.files.grammar import (
    COPY_FAULT,
    COPY_HINT,
    INVISIBLE_HINT,
    Comment,
    Script,
    Statement,
    option_is_on,
)
from headwater.files.parsing import parse_or_explain
from headwater.files.sentences import read_sentences
from headwater.files.text import line_at, place
from headwater.model import Directive, Finding, Migration


def check(migration: Migration, *, keep: bool = False) -> Accepted | tuple[Finding, ...]:
    """Parse one migration with its post-condition; give it accepted, or all that is wrong.

    With `keep` the parsed text stays until `let_go`, for who goes on with it.
    """
    file = f"{migration.version}.sql"
    script = parse_or_explain(migration.text, file)
    if isinstance(script, Finding):
        return (script,)
    findings = [
        *_faults_of_directives(script, file, migration.directives),
        *_invisible(script, file),
        *_faults(script, file, transactional=migration.transactional),
    ]
    sentences: tuple[Sentence, ...] = ()
    if migration.verify is not None:
        read = read_sentences(migration.verify, f"{migration.version}.verify.sql")
        sentences = read.sentences
        findings += read.findings
    if findings:
        return tuple(findings)
    accepted = Accepted(
        migration=migration,
        statements=len(script.statements),
        sentences=sentences,
        defines=only_defines(script),
    )
    if keep:
        accepted.keep(script)
    return accepted


def check_all(migrations: Iterable[Migration]) -> tuple[tuple[Accepted, ...], tuple[Finding, ...]]:
    """Check migrations one by one; give those that are accepted, and all that is wrong."""
    accepted, findings = list[Accepted](), list[Finding]()
    for migration in migrations:
        checked = check(migration)
        if isinstance(checked, Accepted):
            accepted.append(checked)
        else:
            findings += checked
    return tuple(accepted), tuple(findings)


_ALLOW_FAULT = "allow stands above the statement that it covers, on a line of its own"


def _faults_of_directives(
    script: Script, file: str, header: tuple[Directive, ...]
) -> Iterator[Finding]:
    if not directives.may_hold_directives(script.text) or not script.comments:
        return
    first = directives.line_of_first_statement(script.text)
    for comment in script.comments:
        faults = list(directives.faults(comment.text, in_header=comment.line < first))
        if not faults and directives.allowed_rules(comment.text) and not _covers(script, comment):
            faults = [("directive", _ALLOW_FAULT, "")]
        for rule, message, hint in faults:
            yield Finding(
                rule=rule,
                message=message,
                file=file,
                line=comment.line,
                column=comment.column,
                hint=hint,
                source=line_at(script.text, comment.line),
            )
    names = [directive.name for directive in header]
    for index, directive in enumerate(header):
        if directive.name != "allow" and directive.name in names[:index]:
            yield Finding(
                rule="directive",
                message=f"{directive.name} stands in the header twice",
                file=file,
                line=directive.line,
                column=1,
                source=line_at(script.text, directive.line),
            )


def _covers(script: Script, comment: Comment) -> bool:
    """Say whether a comment is alone on its line, outside of statements, and above one."""
    line = line_at(script.text, comment.line)[: comment.column - 1]
    inside = any(s.start < comment.start < s.end for s in script.statements)
    above = any(s.start > comment.start for s in script.statements)
    return not line.strip() and above and not inside


def _invisible(script: Script, file: str) -> Iterator[Finding]:
    for position, message in script.invisible:
        line, column = place(script.text, position)
        yield Finding(
            rule="syntax",
            message=message,
            file=file,
            line=line,
            column=column,
            hint=INVISIBLE_HINT,
            source=line_at(script.text, line),
        )


def _faults(script: Script, file: str, *, transactional: bool) -> Iterator[Finding]:
    if not script.statements:
        yield Finding(
            rule="empty",
            message="the file holds no statement",
            file=file,
            line=1,
            column=1,
            hint="write it, or delete the file",
        )
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
    if statement.kind == "transaction_stmt" or _sets_transaction(statement):
        return (
            "transaction-control",
            _TRANSACTION_FAULT.format(_first_words(statement)),
            "remove it; Headwater begins and commits",
        )
    if statement.kind == "copy_stmt" and not node.filename and node.is_from:
        return ("copy-stdin", COPY_FAULT, COPY_HINT)
    if statement.kind == "copy_stmt" and not node.filename:
        return ("copy-stdout", "COPY … TO STDOUT sends data to nobody", "remove it")
    return _refusal_in(statement) if transactional else _refusal_outside(statement)


def _refusal_in(statement: Statement) -> tuple[str, str, str] | None:
    """Refuse what cannot run in a transaction."""
    what = needs_no_transaction(statement)
    if not what:
        return None
    return (
        "no-transaction",
        f"{what} cannot run in a transaction",
        "give it a file of its own that begins with: -- headwater: no-transaction",
    )


def _refusal_outside(statement: Statement) -> tuple[str, str, str] | None:
    """Refuse what would not be what it seems in a file that is sent statement by statement."""
    node = statement.node
    if setting := _reads_on_otherwise(statement):
        return (
            "reading-changed",
            f"{setting}: what follows was read without it, and would be taken for something else",
            "put it into a file that runs in a transaction, which is sent whole",
        )
    if statement.kind == "index_stmt" and node.concurrent and node.if_not_exists:
        return (
            "concurrently-if-not-exists",
            _IF_NOT_EXISTS_FAULT,
            "remove IF NOT EXISTS; a rerun goes on where it stopped",
        )
    return None


_TRANSACTION_FAULT = (
    "{} would end, split or change the transaction that makes the file all or nothing"
)

# It would take the invalid index of a failed build for a finished one.
_IF_NOT_EXISTS_FAULT = (
    "IF NOT EXISTS takes the invalid left-over of a failed CONCURRENTLY for a finished index"
)


def _sets_transaction(statement: Statement) -> bool:
    """Say whether it is SET TRANSACTION: read-only, say, it could no longer be recorded.

    SET transaction_read_only and its sisters do the same, one by one.
    """
    if statement.kind != "variable_set_stmt":
        return False
    name = str(statement.node.name)
    return name in ("TRANSACTION", "TRANSACTION SNAPSHOT") or name.lower() in (
        "transaction_isolation",
        "transaction_read_only",
        "transaction_deferrable",
    )


# What decides how a text becomes statements, with the value by which every file is read. A file
# that is sent in parts is split by that value beforehand.
_READ_BY = {"client_encoding": ("utf8", "utf-8", "unicode"), "standard_conforming_strings": ("on",)}
_TRUE = ("on", "true", "yes", "1")


def _reads_on_otherwise(statement: Statement) -> str:
    """Name the setting when a statement changes how the statements behind it are read, else ''."""
    if statement.kind != "variable_set_stmt":
        return ""
    name, values = str(statement.node.name).lower(), statement.node.args
    if name not in _READ_BY or not values:  # SET … TO DEFAULT: the session's own value
        return ""
    constant = values[0].a_const
    value = str(constant.sval.sval).lower() or str(constant.ival.ival)
    expected = _READ_BY[name] if name == "client_encoding" else _TRUE
    return "" if value in expected else f"SET {name}"


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
    if statement.kind in _ALWAYS_OUTSIDE:
        return _ALWAYS_OUTSIDE[statement.kind]
    judge = _SOMETIMES_OUTSIDE.get(statement.kind)
    return judge(statement.node) if judge else ""


def _index(node: Any) -> str:
    return "CREATE INDEX CONCURRENTLY" if node.concurrent else ""


def _drop(node: Any) -> str:
    return "DROP INDEX CONCURRENTLY" if node.concurrent else ""


def _vacuum(node: Any) -> str:
    return "VACUUM" if node.is_vacuumcmd else ""  # else it is ANALYZE


def _cluster(node: Any) -> str:
    return "" if node.HasField("relation") else "CLUSTER without a table"


def _discard(node: Any) -> str:
    return "DISCARD ALL" if _name_of(node, "target") == "DISCARD_ALL" else ""


def _reindex(node: Any) -> str:
    if option_is_on(node.params, "concurrently", default=False):
        return "REINDEX CONCURRENTLY"
    scope = _name_of(node, "kind")
    if scope in ("REINDEX_OBJECT_SCHEMA", "REINDEX_OBJECT_SYSTEM", "REINDEX_OBJECT_DATABASE"):
        return scope.replace("_OBJECT_", " ")
    return ""


def _create_subscription(node: Any) -> str:
    makes_slot = all(
        option_is_on(node.options, name, default=True) for name in ("connect", "create_slot")
    )
    return "CREATE SUBSCRIPTION that makes a slot" if makes_slot else ""


def _alter_subscription(node: Any) -> str:
    what = _name_of(node, "kind").removeprefix("ALTER_SUBSCRIPTION_").replace("_", " ")
    refreshes = what.endswith("PUBLICATION") and option_is_on(node.options, "refresh", default=True)
    return f"ALTER SUBSCRIPTION … {what}" if refreshes or what.startswith("REFRESH") else ""


def _alter_database(node: Any) -> str:
    moves = any(option.def_elem.defname == "tablespace" for option in node.options)
    return "ALTER DATABASE … SET TABLESPACE" if moves else ""


def _alter_table(node: Any) -> str:
    concurrent = any(
        getattr(command.alter_table_cmd, "def").partition_cmd.concurrent for command in node.cmds
    )
    return "DETACH PARTITION CONCURRENTLY" if concurrent else ""


_SOMETIMES_OUTSIDE: dict[str, Callable[[Any], str]] = {
    "index_stmt": _index,
    "drop_stmt": _drop,
    "vacuum_stmt": _vacuum,
    "cluster_stmt": _cluster,
    "discard_stmt": _discard,
    "reindex_stmt": _reindex,
    "create_subscription_stmt": _create_subscription,
    "alter_subscription_stmt": _alter_subscription,
    "alter_database_stmt": _alter_database,
    "alter_table_stmt": _alter_table,
}


def _name_of(node: Any, enum_field: str) -> str:
    """Give the name of an enum value of a parse node."""
    descriptor = node.DESCRIPTOR.fields_by_name[enum_field]
    return str(descriptor.enum_type.values_by_number[getattr(node, enum_field)].name)


def _first_words(statement: Statement) -> str:
    """Give what a statement is called: ROLLBACK, or ROLLBACK TO, or COMMIT PREPARED."""
    first, *rest = re.findall(r"[A-Za-z]+", statement.text)[:2]
    if first.upper() == "SET":
        return "SET TRANSACTION"
    second = [word for word in rest if word.upper() in ("TRANSACTION", "PREPARED", "TO")]
    return " ".join([first, *second]).upper()
