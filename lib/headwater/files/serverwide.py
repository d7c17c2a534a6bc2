"""Statements that reach beyond their database: they must not run for a rehearsal or a proof."""

from __future__ import annotations

from headwater.files.grammar import Script, Statement
from headwater.files.text import line_at
from headwater.model import Finding

# Whatever a database is made for, these change the server or another database.
_ESCAPING = {
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
_OF_ROLES = {
    "create_role_stmt": "CREATE ROLE",
    "alter_role_stmt": "ALTER ROLE",
    "alter_role_set_stmt": "ALTER ROLE … SET",
    "drop_role_stmt": "DROP ROLE",
    "grant_role_stmt": "GRANT of a role",
}


def escaping(script: Script, file: str, *, roles: bool) -> tuple[Finding, ...]:
    """List the statements that would reach beyond a scratch database, with their lines.

    `roles` says whether statements about roles count, as they do on a server that others use.
    """
    names = _ESCAPING | (_OF_ROLES if roles else {})
    return tuple(
        _finding(statement, names[statement.kind], script, file)
        for statement in script.statements
        if statement.kind in names
    )


def _finding(statement: Statement, name: str, script: Script, file: str) -> Finding:
    return Finding(
        rule="server-wide",
        message=f"{name} reaches beyond a scratch database",
        file=file,
        line=statement.line,
        column=statement.column,
        hint="keep it out of the migrations, or name a server of its own in HEADWATER_SCRATCH_URL",
        source=line_at(script.text, statement.line),
    )
