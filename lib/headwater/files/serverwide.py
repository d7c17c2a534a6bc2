"""Statements that reach beyond their database: they must not run for a rehearsal or a proof.

Only statements of their own are seen. What stands inside a `DO` block or a function is a string of
some procedural language, that no parser of SQL can read: it runs, and has to look first whether
there is anything to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headwater.files.grammar import Script, Statement
from headwater.files.text import line_at
from headwater.model import Finding

# Whatever a database is made for, these change the server or another database.
_ESCAPING: Final = {
    "createdb_stmt": "CREATE DATABASE",
    "dropdb_stmt": "DROP DATABASE",
    "alter_database_stmt": "ALTER DATABASE",
    "alter_database_refresh_coll_stmt": "ALTER DATABASE",
    "alter_database_set_stmt": "ALTER DATABASE … SET",
    "create_table_space_stmt": "CREATE TABLESPACE",
    "drop_table_space_stmt": "DROP TABLESPACE",
    "alter_table_space_options_stmt": "ALTER TABLESPACE",
    "alter_system_stmt": "ALTER SYSTEM",
    "create_subscription_stmt": "CREATE SUBSCRIPTION",
}

# Roles belong to the whole server. On one that is not ours they must stay as they are.
_OF_ROLES: Final = {
    "create_role_stmt": "CREATE ROLE",
    "alter_role_stmt": "ALTER ROLE",
    "alter_role_set_stmt": "ALTER ROLE … SET",
    "drop_role_stmt": "DROP ROLE",
    "grant_role_stmt": "GRANT of a role",
}

# Statements that can be about anything: their kind, the field that says about what, their name.
_ABOUT: Final = {
    "alter_owner_stmt": ("object_type", "ALTER {} … OWNER TO"),
    "comment_stmt": ("objtype", "COMMENT ON {}"),
    "grant_stmt": ("objtype", "GRANT or REVOKE ON {}"),
    "rename_stmt": ("rename_type", "ALTER {} … RENAME TO"),
    "sec_label_stmt": ("objtype", "SECURITY LABEL ON {}"),
}
_SHARED: Final = {
    "OBJECT_DATABASE": "DATABASE",
    "OBJECT_TABLESPACE": "TABLESPACE",
    "OBJECT_PARAMETER_ACL": "PARAMETER",
}
_SHARED_ROLE: Final = {"OBJECT_ROLE": "ROLE"}

_HINT = "keep it out of the migrations: it is the work of whoever runs the server"
_HINT_FOR_ROLES = (
    "wrap it in a DO block that looks first (IF NOT EXISTS (SELECT FROM pg_roles …)), "
    "or let verify use the private server"
)


def escaping(script: Script, file: str, *, roles: bool) -> tuple[Finding, ...]:
    """List the statements that would reach beyond a scratch database, with their lines.

    `roles` says whether statements about roles count, as they do on a server that others use.
    Blocks and functions are not looked into.
    """
    found = list[Finding]()
    for statement in script.statements:
        if name := _name(statement, _ESCAPING, _SHARED) or _of_who_runs_it(statement):
            found.append(_finding(statement, name, script, file, hint=_HINT))
        elif roles and (name := _name(statement, _OF_ROLES, _SHARED_ROLE)):
            found.append(_finding(statement, name, script, file, hint=_HINT_FOR_ROLES))
    return tuple(found)


# The role that a private server is made with: without it nobody can enter that any more.
_OWNER: Final = "postgres"


def _of_who_runs_it(statement: Statement) -> str:
    """Name a statement about the role that runs the files, or that owns a private server."""
    if statement.kind in ("alter_role_stmt", "alter_role_set_stmt"):
        roles = [statement.node.role]
    elif statement.kind == "drop_role_stmt":
        roles = [one.role_spec for one in statement.node.roles]
    elif statement.kind == "rename_stmt" and _word(statement, "rename_type") == "OBJECT_ROLE":
        return "ALTER ROLE … RENAME TO" if statement.node.subname == _OWNER else ""
    else:
        return ""
    # CURRENT_USER and its sisters have no name; what is for ALL has neither, and is for them too.
    own = any(role.rolename in ("", _OWNER) for role in roles)
    return f"{_OF_ROLES[statement.kind]} of the role that runs it" if own else ""


def reaches_beyond(statement: Statement) -> str:
    """Name a statement that changes the server, its roles or another database; else nothing."""
    return _name(statement, _ESCAPING, _SHARED) or _name(statement, _OF_ROLES, _SHARED_ROLE)


def reads_the_machine(statement: Statement) -> str:
    """Name a COPY that runs a program, or reads or writes a file of the server; else nothing."""
    if statement.kind != "copy_stmt" or not statement.node.filename:
        return ""
    return "COPY … PROGRAM" if statement.node.is_program else "COPY of a file"


def _name(statement: Statement, kinds: Mapping[str, str], objects: Mapping[str, str]) -> str:
    """Give the name of a statement by its kind, or by the object that it is about; else nothing."""
    if statement.kind not in _ABOUT:
        return kinds.get(statement.kind, "")
    field, form = _ABOUT[statement.kind]
    about = _word(statement, field)
    return form.format(objects[about]) if about in objects else ""


def _word(statement: Statement, field: str) -> str:
    """Give the parser's word for the value of a field: `OBJECT_DATABASE`."""
    words = statement.node.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(words[getattr(statement.node, field)].name)


def _finding(statement: Statement, name: str, script: Script, file: str, *, hint: str) -> Finding:
    return Finding(
        rule="server-wide",
        message=f"{name} reaches beyond a scratch database",
        file=file,
        line=statement.line,
        column=statement.column,
        hint=hint,
        source=line_at(script.text, statement.line),
    )
