"""One runner at a time: a session-level advisory lock on a connection of its own.

It is taken by polling, in autocommit: a runner that waited inside a statement would deadlock with
every CONCURRENTLY of the one that works. Closing the connection is the unlock, so a runner that
dies holds nothing. (Of a pooler's session that is not so: there it is unlocked by a statement too.)
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

import psycopg

from headwater.errors import LockBusy
from headwater.model import Notify, Said, Target, ignore
from headwater.postgres.connect import (
    Connection,
    connect,
    only_catalog_names,
    pin_for_bookkeeping,
)
from headwater.postgres.pooler import require_own_session
from headwater.postgres.translate import translated
from headwater.settings import Settings

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5

# A 64-bit key stands in pg_locks in two halves, with objsubid 1 (section 52.12 of the manual).
_HOLDER = """
SELECT l.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), a.usename,
       CASE WHEN a.backend_start IS NULL THEN 'a place this role may not see'
            ELSE coalesce(pg_catalog.host(a.client_addr), 'local') END, a.backend_start
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_catalog.pg_database
                      WHERE datname = pg_catalog.current_database())
   AND l.classid = ((%(key)s::bigint >> 32) & 4294967295)::oid
   AND l.objid = (%(key)s::bigint & 4294967295)::oid
"""


@contextmanager
def migration_lock(
    target: Target, settings: Settings, notify: Notify = ignore
) -> Generator[Connection]:
    """Hold the lock of the target's migrations; give the connection that holds it.

    In order: refuse a pooler that shares its sessions, before anything is set or locked in one of
    them; pin the session; lock. Waits up to `wait_lock_ms`, telling once who holds it, then raises
    LockBusy. The connection is in autocommit and must never see a transaction.
    """
    with connect(target, purpose="lock", impatient=True) as connection:
        pooled = require_own_session(connection, target)
        with translated("taking the lock"):
            pin_for_bookkeeping(connection, lock_timeout_ms=settings.lock_timeout_ms)
        _wait_for_lock(connection, target, settings, notify)
        try:
            yield connection
        finally:
            if pooled:
                _leave_nothing(connection)


def _wait_for_lock(
    connection: Connection, target: Target, settings: Settings, notify: Notify
) -> None:
    deadline = time.monotonic() + settings.wait_lock_ms / 1_000
    pause = _FIRST_PAUSE_S
    told = False
    while not try_lock(connection, settings.lock_key):
        if time.monotonic() >= deadline:
            raise LockBusy(
                f"another runner works on {target}",
                detail=holder_of(connection, settings.lock_key),
                hint="try again when it is done; to wait longer: invoke migrate --wait-lock 10min, "
                "or HEADWATER_WAIT_LOCK=10min for every task",
            )
        if not told:
            notify(Said(message=f"waiting for {holder_of(connection, settings.lock_key)}"))
            told = True
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def _leave_nothing(connection: Connection) -> None:
    """Unlock and unset in a pooler's session, which outlives our connection.

    The pooler does the same before it gives the session away, unless its server_reset_query was
    emptied.
    """
    with suppress(psycopg.Error):
        connection.execute("DISCARD ALL")


# Who may stand in the way now: sessions inside a transaction that hold locks on tables. Asked after
# a lock_timeout, so it may name one too many; never one of ours, whose lock connection holds none.
_WITH_LOCKS = r"""
SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), a.usename,
       pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start),
       pg_catalog.left(pg_catalog.regexp_replace(a.query, '\s+', ' ', 'g'), 80)
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.locktype = 'relation' AND l.granted AND l.relation >= 16384::oid
   AND a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
"""


def sessions_with_locks(connection: Connection) -> str:
    """Name the other sessions that hold locks on tables of this database, one a line."""
    with only_catalog_names(connection):
        rows = connection.execute(_WITH_LOCKS).fetchall()
    return "\n".join(
        f"process {pid} ({application} as {user}, in a transaction for {age}): {query}"
        # Of other roles' sessions only pg_read_all_stats sees these; who it is, everybody.
        if age is not None
        else f"process {pid} ({application} as {user}); pg_read_all_stats would see what it runs"
        for pid, application, user, age, query in rows
    )


def try_lock(connection: Connection, key: int) -> bool:
    """Take the session's advisory lock of a key, unless another has it; say whether we have it."""
    with translated("taking the lock"):
        row = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (key,)).fetchone()
    return bool(row and row[0])


def holder_of(connection: Connection, key: int) -> str:
    """Say who holds the advisory lock of a key."""
    rows = connection.execute(_HOLDER, {"key": key}).fetchall()
    if not rows:
        return "a runner that has just finished"
    pid, application, user, client, since = rows[0]
    begun = f", since {since:%Y-%m-%d %H:%M:%S %Z}" if since else ""
    return f"process {pid} ({application} as {user} from {client}{begun})"
