"""What a file makes outside every schema stays when reset drops the schemas, and must bear that."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.checks.rules import NOT_REPEATABLE
from headwater.files.accepted import Accepted
from headwater.files.grammar import Statement
from headwater.files.text import line_at, place
from headwater.model import Finding

# What makes an object of the whole database or server: what it is called, and where its name is.
_MAKES = {
    "create_extension_stmt": ("extension", "extname"),
    "create_publication_stmt": ("publication", "pubname"),
    "create_subscription_stmt": ("subscription", "subname"),
    "create_event_trig_stmt": ("event trigger", "trigname"),
    "create_role_stmt": ("role", "role"),
    "create_fdw_stmt": ("foreign-data wrapper", "fdwname"),
    "create_foreign_server_stmt": ("server", "servername"),
}


def not_repeatable(file: Accepted) -> tuple[Finding, ...]:
    """Find what would fail when the file runs again with its object still there.

    Right are IF NOT EXISTS, DROP … IF EXISTS of the same name above it, and a DO block that looks
    first (which is not looked into).
    """
    return tuple(_findings(file))


def _findings(file: Accepted) -> Iterator[Finding]:
    dropped: set[str] = set()
    for statement in file.script.statements:
        dropped.update(_dropped_by(statement))
        if statement.kind not in _MAKES or getattr(statement.node, "if_not_exists", False):
            continue
        what, field = _MAKES[statement.kind]
        name = str(getattr(statement.node, field))
        if name not in dropped:
            yield NOT_REPEATABLE.finding(
                file=f"{file.migration.version}.sql",
                line=statement.line,
                column=statement.column,
                end=place(file.script.text, statement.start + len(statement.text)),
                message=f"{what} {name}: {NOT_REPEATABLE.why}",
                source=_shown(statement, file),
            )


def _shown(statement: Statement, file: Accepted) -> str:
    """Give the line of a statement; none of one that may hold a password."""
    secret = statement.kind in ("create_role_stmt", "create_subscription_stmt")
    return "" if secret else line_at(file.script.text, statement.line)


def _dropped_by(statement: Statement) -> Iterator[str]:
    """Give the names that a DROP … IF EXISTS drops, of objects that have no schema."""
    node = statement.node
    if statement.kind == "drop_role_stmt" and node.missing_ok:
        yield from (role.role_spec.rolename for role in node.roles)
    elif statement.kind == "drop_stmt" and node.missing_ok:
        yield from (thing.string.sval for thing in node.objects)
