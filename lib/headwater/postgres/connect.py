"""Connections: opened in one way, pinned in one way, and told about without a password.

Every run of a file, in production, in a scratch database or in a trace, has the same pins, so
that a `timestamp -> timestamptz` means UTC everywhere.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias

import psycopg
from psycopg import conninfo

from headwater.errors import TargetError, Unreachable
from headwater.model import Target
from headwater.postgres.entry import explained
from headwater.postgres.ticking import ImpatientConnection
from headwater.settings import DatabaseChoice

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT_S = 10

# The oldest major version whose catalogues and settings the queries here know.
OLDEST = 15

# A client that vanished is noticed while its statement runs (museum: the server would finish the
# statement, hold the lock, and nobody would record it).
_CHECK_INTERVAL_MS = 2_000

# What decides how a file's text is understood and how values are written. Timeouts that a role or
# a database sets for applications would end a long migration in the middle: they are off.
PINS = b"""\
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET quote_all_identifiers = off;
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET row_security = off;
SET check_function_bodies = on;
SET default_transaction_isolation = 'read committed';
SET default_transaction_deferrable = off;
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET idle_session_timeout = 0;
"""

_environment_lock = threading.RLock()
# A child that is forked while a thread connects would inherit the lock, and lack what is hidden.
os.register_at_fork(
    before=_environment_lock.acquire,
    after_in_parent=_environment_lock.release,
    after_in_child=_environment_lock.release,
)
_this_thread = threading.local()


def target_of(choice: DatabaseChoice) -> Target:
    """Turn a setting into a target, filling in libpq's own defaults for what it leaves open.

    Raises TargetError without quoting the setting: libpq's message about it would.
    """
    try:
        given: dict[str, Any] = (
            dict(conninfo.conninfo_to_dict(choice.url)) if choice.url else dict(choice.keywords)
        )
        text = conninfo.make_conninfo(**given)
    except psycopg.ProgrammingError:
        raise TargetError(
            f"{choice.source} cannot be understood",
            detail="libpq knows one of its parts not at all, or not in that form",
            hint="docs/settings.md shows the form; escape special characters of the password",
        ) from None
    known = {
        option.keyword.decode(): option.val.decode(errors="replace")
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.val
    } | given
    user = str(known.get("user", ""))
    return Target(
        host=str(known.get("host") or known.get("hostaddr") or "local socket"),
        port=str(known.get("port") or "5432"),
        database=str(known.get("dbname") or user),
        user=user,
        source=choice.source,
        conninfo=text,
    )


def with_database(target: Target, database: str, source: str) -> Target:
    """Give another database of the same server."""
    return Target(
        host=target.host,
        port=target.port,
        database=database,
        user=target.user,
        source=source,
        conninfo=conninfo.make_conninfo(target.conninfo, dbname=database),
        private=target.private,
    )


@contextmanager
def connect(target: Target, *, purpose: str, impatient: bool = False) -> Generator[Connection]:
    """Open a connection in autocommit, and close it whatever happens.

    `purpose` shows in `application_name`, for those who ask the server who it is. Statements are
    never prepared: poolers lose them, and cached plans break under DDL. `impatient` is for
    bookkeeping, whose answers come at once or not at all (`ticking.ANSWER_S`).
    """
    connection = _open(target, purpose, impatient=impatient)
    try:
        _require_known_version(connection, target)
        yield connection
    finally:
        connection.close()


def _open(target: Target, purpose: str, *, impatient: bool) -> Connection:
    kind = ImpatientConnection if impatient else psycopg.Connection
    options: dict[str, Any] = {
        "fallback_application_name": f"headwater {purpose}",
        # From the first answer on: of a database in SQL_ASCII the driver would give bytes.
        "client_encoding": "UTF8",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        # What was sent and never acknowledged (milliseconds; Linux).
        "tcp_user_timeout": 60_000,
    }
    if "connect_timeout" not in conninfo.conninfo_to_dict(target.conninfo):
        options["connect_timeout"] = CONNECT_TIMEOUT_S
    try:
        with libpq_variables_hidden() if target.private else nullcontext():
            return kind.connect(target.conninfo, autocommit=True, prepare_threshold=None, **options)
    except psycopg.Error as error:
        raise unreachable(target, error) from without_secrets(error, target)
    except UnicodeError:
        # The driver asks for addresses itself, by IDNA, which refuses some host names.
        raise Unreachable(
            f"no connection to {target}",
            detail="this is no host name: a part of it is empty or longer than 63 characters",
            hint=f"check the host in {target.source}",
        ) from None


def _require_known_version(connection: Connection, target: Target) -> None:
    version = connection.info.server_version
    if version < OLDEST * 1_00_00:
        raise TargetError(
            f"{target} is PostgreSQL {version // 1_00_00}; Headwater knows {OLDEST} and newer",
            detail="nothing was read or changed",
            hint=f"upgrade the server, or name another one in {target.source}",
        )


def libpq_variables() -> dict[str, str]:
    """Give every variable of the environment that libpq would read."""
    return {name: value for name, value in os.environ.items() if name.startswith("PG")}


def hides_variables(target: Target) -> bool:
    """Say whether connecting to a target hides variables from the process while it lasts."""
    with _environment_lock:
        return target.private and bool(libpq_variables())


def hide_nothing_here() -> None:
    """Let this thread hide nothing from now on: where it would have to, it raises Unreachable.

    That is for threads beside tests: a test may set a variable and undo that at this very moment,
    and would find it set for ever after.
    """
    _this_thread.hides_nothing = True


@contextmanager
def libpq_variables_hidden() -> Generator[None]:
    """Hide every variable that libpq would read, so that it knows only what it is told.

    A PGOPTIONS or PGSERVICE that somebody exported for another server must not reach the private
    one. The environment belongs to the process: one thread at a time.
    """
    with _environment_lock:
        hidden = libpq_variables()
        if hidden and getattr(_this_thread, "hides_nothing", False):
            raise Unreachable(f"{', '.join(sorted(hidden))} would be hidden from other threads")
        for name in hidden:
            del os.environ[name]
        try:
            yield
        finally:
            os.environ.update(hidden)


def unreachable(target: Target, error: psycopg.Error) -> Unreachable:
    """Tell why there is no connection, without any password that libpq may have quoted."""
    lines = redacted(str(error), target).strip().splitlines()
    meaning, hint = explained(str(error), target)
    if target.private:
        hint = "invoke db.start shows why the private server does not run"
    return Unreachable(
        f"no connection to {target}" + (f": {meaning}" if meaning else ""),
        detail="\n".join(line.strip() for line in lines if line.strip())
        or "the server closed the connection",
        hint=hint,
    )


def without_secrets(error: psycopg.Error, target: Target) -> psycopg.Error:
    """Give the driver's error, or one of its kind where its text holds a secret."""
    text = redacted(str(error), target)
    return error.with_traceback(None) if text == str(error) else type(error)(text)


def redacted(text: str, target: Target) -> str:
    """Replace the target's password, and its whole connection string, in a text."""
    try:
        password = str(conninfo.conninfo_to_dict(target.conninfo).get("password") or "")
    except psycopg.ProgrammingError:
        password = ""
    for secret in (target.conninfo, password, os.environ.get("PGPASSWORD", "")):
        if secret:
            text = text.replace(secret, "***")
    return text


def pin(connection: Connection, *, lock_timeout_ms: int) -> None:
    """Pin the session: text forms, no inherited timeouts, and the lock timeout."""
    connection.execute(pins(connection, lock_timeout_ms=lock_timeout_ms))


def pin_for_bookkeeping(connection: Connection, *, lock_timeout_ms: int = 0) -> None:
    """Pin a session that runs no file, with nothing but pg_catalog to search.

    A role's own timeouts would end a session that is idle while a migration runs: the lock with it.
    """
    connection.execute(pins(connection, lock_timeout_ms=lock_timeout_ms) + b"SET search_path = '';")


@contextmanager
def only_catalog_names(connection: Connection) -> Generator[None]:
    """Search nothing but pg_catalog while it is entered, in one transaction.

    An operator or a type of somebody's schema that stands ahead in search_path would else decide
    what we read: `oid = integer` has no exact match in pg_catalog, and any exact match wins.
    A DateStyle of a role or a database would give times that the driver cannot read.
    Only SET LOCAL is used, so that nothing is left in a session that a pooler shares.
    """
    inside = connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    with connection.transaction():
        row = connection.execute(
            "SELECT pg_catalog.current_setting('search_path'), "
            "pg_catalog.current_setting('DateStyle'), "
            "pg_catalog.set_config('search_path', '', true), "
            "pg_catalog.set_config('DateStyle', 'ISO, MDY', true)"
        ).fetchone()
        yield
        if inside and row:
            connection.execute(
                "SELECT pg_catalog.set_config('search_path', %s, true), "
                "pg_catalog.set_config('DateStyle', %s, true)",
                row[:2],
            )


def has_heard(connection: Connection, wait_s: float = 0.0) -> bool:
    """Say whether the server has said something that nobody has read yet, or has gone.

    Waits up to `wait_s` for that. Raises psycopg.OperationalError when the connection is closed.
    """
    ear = select.poll()
    ear.register(connection.pgconn.socket, select.POLLIN)
    return bool(ear.poll(wait_s * 1_000))


def pins(connection: Connection, *, lock_timeout_ms: int, local: bool = False) -> bytes:
    """Give the pins as one message for this server's version; `local` is for one transaction."""
    lines = [PINS, b"SET lock_timeout = %d;\n" % lock_timeout_ms]
    if connection.info.server_version >= 17_00_00:
        lines.append(b"SET transaction_timeout = 0;\n")
    if connection.info.server_version >= 14_00_00:
        lines.append(b"SET client_connection_check_interval = %d;\n" % _CHECK_INTERVAL_MS)
    if local:
        each = b"".join(lines).splitlines(keepends=True)
        lines = [b"SET LOCAL " + line.removeprefix(b"SET ") for line in each]
    return b"".join(lines)


def parameters(target: Target) -> Mapping[str, Any]:
    """Give the target's connection parameters, for programs that are started with them."""
    return conninfo.conninfo_to_dict(target.conninfo)
