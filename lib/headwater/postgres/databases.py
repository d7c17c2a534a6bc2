"""Whole databases: made, marked, dropped; and whether one may be destroyed.

A database is disposable when it is empty, or when the server itself says so: a line
`headwater: disposable` in the comment on the database. Its owner may write that, and a plain dump
does not carry it to another server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from headwater.errors import HeadwaterError, TargetError, Unreachable, UnsafeTarget
from headwater.model import Target
from headwater.postgres.connect import (
    Connection,
    connect,
    only_catalog_names,
    pin_for_bookkeeping,
    with_database,
)
from headwater.postgres.makers import machine, name_with_maker
from headwater.postgres.pooler import require_own_session
from headwater.postgres.translate import translated

MARK = "headwater: disposable"
SCRATCH_PREFIX = "headwater_scratch_"

# Is there any object of a user? Everything that initdb makes has an oid below 16384
# (FirstNormalObjectId, src/include/access/transam.h); members of extensions do not count.
_IS_EMPTY = """
WITH objects(classid, oid) AS (
    -- An index goes with its table, and is no member of the table's extension by itself.
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, oid FROM pg_catalog.pg_class
     WHERE relkind NOT IN ('i', 'I')
       AND relnamespace NOT IN (SELECT oid FROM pg_catalog.pg_namespace
                                 WHERE nspname ~ '^pg_(toast|temp)')
    UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid FROM pg_catalog.pg_proc
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid FROM pg_catalog.pg_type
     WHERE typtype NOT IN ('b', 'c') OR typelem = 0 AND typrelid = 0
    UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, oid FROM pg_catalog.pg_operator
    UNION ALL SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
    UNION ALL SELECT 'pg_catalog.pg_publication'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_publication
    UNION ALL SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_event_trigger
    UNION ALL SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_foreign_server
    UNION ALL SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_collation
    UNION ALL SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_conversion
    UNION ALL SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_ts_config
    UNION ALL SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, oid FROM pg_catalog.pg_ts_dict
    UNION ALL SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, oid FROM pg_catalog.pg_opfamily
    UNION ALL SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, oid FROM pg_catalog.pg_cast
    UNION ALL SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, oid FROM pg_catalog.pg_language
    UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_catalog.pg_default_acl'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_default_acl
    UNION ALL SELECT 'pg_catalog.pg_largeobject'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_largeobject_metadata
)
SELECT NOT EXISTS (
    SELECT FROM objects o
     WHERE o.oid >= 16384
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype = 'e'))
"""

_COMMENT = """
SELECT pg_catalog.shobj_description(oid, 'pg_database')
  FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
"""


def exists(connection: Connection, name: str) -> bool:
    """Say whether the server has a database of this name."""
    found = connection.execute("SELECT FROM pg_catalog.pg_database WHERE datname = %s", (name,))
    return found.rowcount > 0


def comment_on(connection: Connection) -> str:
    """Give the comment on the connected database, or an empty text.

    The server says which one that is: behind a pooler the name that we connected by may be the
    alias of another.
    """
    row = connection.execute(_COMMENT).fetchone()
    return str(row[0]) if row and row[0] else ""


def _carries_mark(comment: str) -> bool:
    """Say whether a line of a comment is the mark; only a newline ends a line."""
    return MARK in (line.removesuffix("\r") for line in comment.split("\n"))


def is_marked(connection: Connection) -> bool:
    """Say whether the connected database carries the mark."""
    return _carries_mark(comment_on(connection))


def is_empty(connection: Connection) -> bool:
    """Say whether the connected database holds no object of a user."""
    row = connection.execute(_IS_EMPTY).fetchone()
    return bool(row and row[0])


def is_disposable(connection: Connection) -> bool:
    """Say whether the connected database is marked, or empty."""
    with only_catalog_names(connection):
        return is_marked(connection) or is_empty(connection)


def require_disposable(connection: Connection, target: Target) -> None:
    """Raise UnsafeTarget unless the connected database is marked, or empty."""
    if not is_disposable(connection):
        raise UnsafeTarget(
            f"{target} is not marked as disposable, and it is not empty",
            detail="reset would drop schemas with everything in them; nothing was touched",
            hint=f"if nobody needs its data: invoke db.disposable {target.database}",
        )


def require_confirmed(
    connection: Connection, target: Target, confirm: str, *, command: str, why: str
) -> None:
    """Raise UnsafeTarget unless the database is disposable, or `confirm` is its name, typed.

    `command` is what the person typed, `why` what makes it worth a second thought.
    """
    with translated("looking at the target"):
        name = name_of(connection)
        if confirm == name or (not confirm and is_disposable(connection)):
            return
    if confirm:
        raise UnsafeTarget(
            f"the target is {target}, not {confirm!r}; nothing was changed",
            hint=f"if it is the right one: {command} --confirm {name}",
        )
    raise UnsafeTarget(
        f"{target} is not disposable, and its name was not typed",
        detail=f"{why}; nothing was changed",
        hint=f"if that is meant: {command} --confirm {name}",
    )


def mark_disposable(connection: Connection) -> bool:
    """Write the mark, keeping the rest of the comment; say whether it was not there yet."""
    name = name_of(connection)
    with translated(f"marking {name} as disposable"), only_catalog_names(connection):
        before = comment_on(connection)
        if _carries_mark(before):
            return False
        _write_comment(connection, name, "\n".join(filter(None, [before, MARK])))
    return True


def dispose(target: Target, name: str) -> bool:
    """Mark the target as disposable when `name` is its name; say whether it was not marked yet.

    The name must be typed, so that nobody marks the database of another setting by accident.
    """
    if name != target.database:
        raise UnsafeTarget(
            f"the target is {target}, not {name!r}; nothing was marked",
            hint=f"if it is the right one: invoke db.disposable {target.database}",
        )
    with connect(target, purpose="mark") as connection:
        if name_of(connection) != name:
            raise UnsafeTarget(
                f"{name!r} is an alias of the database {name_of(connection)!r}; nothing was marked",
                hint="name the database itself, not the pooler's alias",
            )
        return mark_disposable(connection)


def name_of(connection: Connection) -> str:
    """Give the name of the connected database, as the server knows it."""
    with translated("asking for the database's name"):
        row = connection.execute("SELECT pg_catalog.current_database()").fetchone()
    return str(row[0]) if row else ""


_COMMENT_OF = """
SELECT pg_catalog.shobj_description(oid, 'pg_database')
  FROM pg_catalog.pg_database WHERE datname = %s
"""


def add_to_comment(connection: Connection, name: str, *lines: str) -> None:
    """Add lines to the comment on a database of the server, but for those that it has.

    Raises TargetError when there is no such database (the server would only warn).
    """
    with translated(f"writing the comment on {name}"):
        row = connection.execute(_COMMENT_OF, (name,)).fetchone()
        if row is None:
            raise TargetError(f"there is no database {name} any more")
        before = row[0].split("\n") if row[0] else []
        new = [line for line in lines if line and line not in before]
        if new:
            _write_comment(connection, name, "\n".join([*before, *new]))


def _write_comment(connection: Connection, name: str, text: str) -> None:
    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(text))
    )


def create_database(
    connection: Connection,
    name: str,
    *options: sql.Composable,
    template: str = "template0",
    note: str = "",
) -> None:
    """Make a database from another, marked as disposable; `note` adds a line to its comment."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    with translated(f"making the database {name}"):
        connection.execute(sql.SQL(" ").join([statement, *options]))
        _write_comment(connection, name, "\n".join(filter(None, [MARK, note])))


_INSIDE = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = %s"
_LEAVING_S = 1.0
_ENDED_BY_FORCE_S = 0.1


def wait_until_empty(connection: Connection, name: str, longest_s: float = _LEAVING_S) -> None:
    """Wait for the processes of sessions that were closed a moment ago, for a second at most.

    (The server would wait itself, in steps of 100 ms. Not inside a transaction: what it says of
    sessions is one and the same there.)
    """
    deadline = time.monotonic() + longest_s
    with translated(f"looking who is in {name}"):
        while connection.execute(_INSIDE, (name,)).fetchone() != (0,):
            if time.monotonic() > deadline:
                return
            time.sleep(0.001)


_END_OURS = """
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
 WHERE datname = %s AND usename = CURRENT_USER AND pid <> pg_catalog.pg_backend_pid()
"""


def drop_database(connection: Connection, name: str) -> None:
    """Drop a database that Headwater made, with whatever session is left in it.

    An ordinary role may not end what is a superuser's, autovacuum among it: then its own sessions
    are ended, and the server, which sends autovacuum away itself, waits five seconds for others.
    """
    drop = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
    with translated(f"dropping the database {name}"):
        try:
            connection.execute(drop + sql.SQL(" WITH (FORCE)"))
        except psycopg.errors.InsufficientPrivilege:
            connection.execute(_END_OURS, (name,))
            connection.execute(drop)


def drop_left_database(connection: Connection, name: str) -> None:
    """Drop a database whose sessions were closed a moment ago, once their processes are gone."""
    wait_until_empty(connection, name)
    drop_database(connection, name)


def strategy_of(connection: Connection) -> tuple[sql.Composable, ...]:
    """Choose how the server copies a database, as an option of CREATE DATABASE.

    File by file where nothing is flushed to a disk: that needs two checkpoints, which cost next to
    nothing without fsync. Page by page through the log, the server's own choice, takes twice as
    long there.
    """
    with translated("asking how the server writes"):
        row = connection.execute("SELECT pg_catalog.current_setting('fsync')").fetchone()
    return (sql.SQL("STRATEGY file_copy"),) if row == ("off",) else ()


Locale = tuple[sql.Composable, ...]
"""Encoding and locale of a database, as options of CREATE DATABASE."""


@contextmanager
def scratch_database(
    server: Target,
    *,
    locale: Locale = (),
    connection: Connection | None = None,
    template: str = "",
) -> Generator[Target]:
    """Make a scratch database on a server, and drop it afterwards.

    It is a clone of `template`, or empty, with this locale. `connection` is one to the server,
    pinned for bookkeeping; without it one is opened. Its name says who made it, so that what a
    killed run leaves behind can be told from everything else; its comment says it to people.

    Raises TargetError when the server cannot make it.
    """
    name = name_with_maker(SCRATCH_PREFIX)
    note = (
        f"headwater: scratch of process {os.getpid()} on {machine()} "
        f"since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    )
    with ExitStack() as stack:
        if connection is None:
            connection = stack.enter_context(connect(server, purpose="scratch"))
            require_own_session(connection, server)
            with translated(f"making the database {name}"):
                pin_for_bookkeeping(connection)
        elif template:
            wait_until_empty(connection, template)
        try:
            options = (*strategy_of(connection), *(() if template else locale))
            create_database(connection, name, *options, template=template or "template0", note=note)
            yield with_database(server, name, "scratch database")
        except BaseException as first:
            try:
                _drop_whatever_happened(connection, server, name)
            except HeadwaterError as second:
                # What went wrong first is what must be told.
                first.add_note(f"{name} was left behind: {second.message}")
            raise
        with suppress(HeadwaterError):
            wait_until_empty(connection, name, _ENDED_BY_FORCE_S)
        _drop_whatever_happened(connection, server, name)


def _drop_whatever_happened(connection: Connection, server: Target, name: str) -> None:
    """Drop the scratch database, over a new connection when the first one was lost meanwhile."""
    try:
        drop_database(connection, name)
    except Unreachable:
        with connect(server, purpose="scratch") as another:
            drop_database(another, name)


def locale_of(connection: Connection) -> Locale:
    """Give the encoding and locale of the connected database as options of CREATE DATABASE.

    The column for the provider's locale is `daticulocale` up to 16, and `datlocale` from 17 on.
    """
    column = "datlocale" if connection.info.server_version >= 17_00_00 else "daticulocale"
    with translated("asking for the locale"), only_catalog_names(connection):
        row = connection.execute(
            sql.SQL(
                "SELECT pg_catalog.pg_encoding_to_char(encoding), datlocprovider, datcollate, "
                "datctype, {} "
                "FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
            ).format(sql.Identifier(column))
        ).fetchone()
    if row is None:
        raise TargetError("the database was dropped meanwhile")
    encoding, provider, collate, ctype, locale = row
    options: list[sql.Composable] = [
        sql.SQL("ENCODING {}").format(sql.Literal(encoding)),
        sql.SQL("LC_COLLATE {}").format(sql.Literal(collate)),
        sql.SQL("LC_CTYPE {}").format(sql.Literal(ctype)),
    ]
    if provider == "i":
        options.append(sql.SQL("LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(locale)))
    elif provider == "b":
        options.append(
            sql.SQL("LOCALE_PROVIDER builtin BUILTIN_LOCALE {}").format(sql.Literal(locale))
        )
    else:
        options.append(sql.SQL("LOCALE_PROVIDER libc"))
    return tuple(options)
