"""What a session must be able to do, asked before anything runs, and told in one sentence.

One query, answered from the catalogue; nothing is tried out. What a file needs beyond it the server
says when the file runs: the file is rolled back then.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from headwater.errors import TargetError
from headwater.model import Target
from headwater.postgres.connect import Connection, only_catalog_names
from headwater.postgres.translate import translated
from headwater.settings import Settings

_SESSION = """
WITH history AS (
    SELECT c.oid, c.relname = %(table)s AS is_history
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname IN (%(table)s, %(table)s || '_steps')
)
SELECT CURRENT_USER::text AS role,
       SESSION_USER::text AS login,
       pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.current_setting('default_transaction_read_only')::boolean AS read_only,
       (SELECT source FROM pg_catalog.pg_settings
         WHERE name = 'default_transaction_read_only') AS read_only_by,
       pg_catalog.current_setting('session_replication_role') AS replication_role,
       (SELECT source FROM pg_catalog.pg_settings
         WHERE name = 'session_replication_role') AS replication_by,
       EXISTS (SELECT FROM history WHERE is_history) AS has_history,
       pg_catalog.to_regnamespace(pg_catalog.quote_ident(%(schema)s)) IS NOT NULL AS has_schema,
       coalesce((SELECT pg_catalog.has_schema_privilege(oid, 'USAGE')
                   FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s), false) AS may_use,
       coalesce((SELECT pg_catalog.has_schema_privilege(oid, 'CREATE')
                   FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s), false) AS may_create,
       coalesce((SELECT pg_catalog.has_table_privilege(oid, 'DELETE')
                   FROM history WHERE is_history), false) AS may_delete,
       coalesce((SELECT pg_catalog.bool_and(
                          pg_catalog.has_table_privilege(oid, 'SELECT')
                          AND pg_catalog.has_table_privilege(oid, 'INSERT')
                          AND (is_history OR pg_catalog.has_table_privilege(oid, 'UPDATE')
                                             AND pg_catalog.has_table_privilege(oid, 'DELETE')))
                   FROM history), false) AS may_record
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the server says about a session: who it is, and what it may do with the history."""

    role: str
    login: str
    """Whose settings the session has; another one than `role` after ALTER ROLE … SET role."""
    standby: bool
    read_only: bool
    read_only_by: str
    """Where that setting comes from, as `pg_settings.source` says it."""
    replication_role: str
    replication_by: str
    has_history: bool
    has_schema: bool
    may_use: bool
    may_create: bool
    may_delete: bool
    """Whether it may take a row of history away."""
    may_record: bool


def require_able(
    connection: Connection, target: Target, settings: Settings, *, undoes: bool = False
) -> None:
    """Raise TargetError unless the session may change the database and keep a record of it.

    `undoes`: it takes records away as well.

    In order: a standby; a setting that makes the session read-only, or that would let triggers and
    foreign keys sleep; the rights on the history, or the right to make it. Only a SELECT.
    """
    session = _session(connection, settings)
    if session.standby:
        raise TargetError(
            f"{target} is a standby: it only follows its primary",
            detail=_UNTOUCHED,
            hint=f"name the primary in {target.source}",
        )
    if session.read_only:
        raise TargetError(
            f"{target} is read-only: default_transaction_read_only is on",
            detail=f"{_set_by(session.read_only_by, session, target)}; {_UNTOUCHED}",
            hint=_undo("default_transaction_read_only", session.read_only_by, session, target),
        )
    if session.replication_role != "origin":
        raise TargetError(
            f"{target}: triggers and foreign keys would not fire, as session_replication_role "
            f"is {session.replication_role}",
            detail=f"{_set_by(session.replication_by, session, target)}; {_UNTOUCHED}",
            hint=_undo("session_replication_role", session.replication_by, session, target),
        )
    _require_history(session, settings, undoes=undoes)


_UNTOUCHED = "nothing was touched"


def _session(connection: Connection, settings: Settings) -> Session:
    names = {"schema": settings.history_schema, "table": settings.history_table}
    with translated("looking at the session"), only_catalog_names(connection):
        found = connection.cursor(row_factory=class_row(Session)).execute(_SESSION, names)
        [session] = found.fetchall()
    return session


def _require_history(session: Session, settings: Settings, *, undoes: bool) -> None:
    """Require the rights on history and journal where they are, else the right to make them."""
    schema, role = settings.history_schema, session.role
    both = f"{settings.history}, {settings.history}_steps"
    if not session.has_schema:
        raise TargetError(
            f"the schema {schema}, which should hold the history, is not there",
            detail=_UNTOUCHED,
            hint=f"CREATE SCHEMA {schema}, or set HEADWATER_HISTORY_TABLE",
        )
    if not session.may_use:
        lacking, grant = f"use the schema {schema}", f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    elif session.has_history and not (session.may_record and (session.may_delete or not undoes)):
        lacking = f"write to {settings.history} and its journal"
        grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON {both} TO {role}"
    elif not session.has_history and not session.may_create:
        lacking = f"create {settings.history}"
        grant = f"GRANT CREATE ON SCHEMA {schema} TO {role}"
    else:
        return
    raise TargetError(
        f"the role {role} may not {lacking}",
        detail=f"without it nothing could be recorded; {_UNTOUCHED}",
        hint=f"{grant}, or use another role",
    )


def _set_by(source: str, session: Session, target: Target) -> str:
    """Say who has set a setting, by `pg_settings.source`."""
    return {
        "user": f"it is set for the role {session.login}",
        "database": f"it is set for the database {target.database}",
        "database user": f"it is set for the role {session.login} in {target.database}",
        "client": f"it is set by {target.source} or PGOPTIONS",
    }.get(source, "it is set for the whole server, as hosts do when a disk is full")


def _undo(name: str, source: str, session: Session, target: Target) -> str:
    role, database = f"ALTER ROLE {session.login}", target.database
    return {
        "user": f"use another role, or: {role} RESET {name}",
        "database": f"if it may be written to: ALTER DATABASE {database} RESET {name}",
        "database user": f"use another role, or: {role} IN DATABASE {database} RESET {name}",
        "client": f"take it out of {target.source} or PGOPTIONS",
    }.get(source, f"ask who runs the server, or: ALTER SYSTEM RESET {name}")
