"""What runs that have ended left behind is dropped: that, and nothing else.

A database is left behind when its name says that a process made it which runs no more. Of a process
on another machine that is so when none of its sessions is left on the server: whoever makes test
databases holds one all the time. A database that was kept for somebody to look into, or lent to a
suite in another language, is left alone for a while.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from headwater.errors import LockBusy, TargetError, Unreachable
from headwater.model import Notify, Target, ignore, plural
from headwater.postgres.connect import Connection, connect, pin_for_bookkeeping
from headwater.postgres.databases import SCRATCH_PREFIX, drop_left_database
from headwater.postgres.makers import Maker, maker_in, maker_of_name
from headwater.postgres.pooler import require_own_session
from headwater.postgres.templates import project_of
from headwater.postgres.templates import sweep as sweep_templates
from headwater.postgres.translate import translated
from headwater.settings import Settings
from headwater.testing.databases import PREFIX, Notes, notes_in
from headwater.testing.making import APPLICATION
from headwater.testing.servers import server_for_tests

# How long evidence stays when nobody sweeps.
_EVIDENCE = timedelta(days=1)

# How many kept databases stay, and no more: each failing run adds some.
_MOST_EVIDENCE = 40

# How long a session that we have ended may take to be gone.
_LEAVING_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was dropped, and what was not, although its run has ended."""

    dropped: tuple[str, ...] = ()
    in_use: tuple[str, ...] = ()
    """Kept or lent, and somebody is connected."""
    stuck: tuple[str, ...] = ()
    """The server does not drop it: it holds a prepared transaction, or a slot of replication …"""

    @property
    def summary(self) -> str:
        """Say it in a sentence."""
        sentences = [f"{plural(len(self.dropped), 'database')} of ended runs dropped"]
        if self.in_use:
            sentences.append(f"kept, because somebody is connected: {', '.join(self.in_use)}")
        if self.stuck:
            sentences.append(
                f"not dropped, because the server refuses: {', '.join(self.stuck)} "
                "(look there for prepared transactions and replication slots)"
            )
        return "; ".join(sentences)


def sweep(settings: Settings, notify: Notify = ignore) -> Swept:
    """Drop what ended runs left on the server of the tests, evidence included.

    In order: end the sessions of killed runs that are still making a database; drop their test
    databases; drop their scratch databases, and templates that nobody uses any more. A kept
    database that somebody is connected to stays.
    """
    server = server_for_tests(settings, notify)
    with connect(server, purpose="sweep") as connection:
        require_own_session(connection, server)
        with translated("sweeping"):
            pin_for_bookkeeping(connection)
            _end_the_makers(connection)
            swept = sweep_databases(connection, evidence=timedelta(0))
            scratch = _drop_scratch(connection)
            stale = sweep_templates(connection, project_of(settings))
        return replace(swept, dropped=(*swept.dropped, *scratch, *stale))


def sweep_server(server: Target) -> None:
    """Drop the databases that killed runs left behind; evidence of the last day stays."""
    with connect(server, purpose="test") as connection:
        require_own_session(connection, server)
        with translated("looking for what killed runs left"):
            pin_for_bookkeeping(connection)
            sweep_databases(connection)


# What a killed client has asked for goes on until the server notices, or has not even begun.
_MAKING = """
SELECT pid, pg_catalog.substr(application_name, pg_catalog.length(%(prefix)s::text) + 1),
       pg_catalog.substring(query, '^CREATE DATABASE "([^"]+)"')
  FROM pg_catalog.pg_stat_activity
 WHERE usename = CURRENT_USER
   AND (pg_catalog.starts_with(application_name, %(prefix)s)
        OR state = 'active' AND query ^@ 'CREATE DATABASE "headwater_')
"""


def _end_the_makers(connection: Connection) -> None:
    """End the sessions of killed runs that make databases, and wait until they are gone."""
    dead = []
    for pid, maker, name in connection.execute(_MAKING, {"prefix": APPLICATION}).fetchall():
        if _has_ended(maker_in(maker or "")) or _has_ended(_maker_of(name or "")):
            connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (pid,))
            dead.append(pid)
    deadline = time.monotonic() + _LEAVING_S
    while _are_there(connection, dead) and time.monotonic() < deadline:
        time.sleep(0.01)


def _maker_of(name: str) -> Maker | None:
    return maker_of_name(name, PREFIX) or maker_of_name(name, SCRATCH_PREFIX)


def _are_there(connection: Connection, pids: list[int]) -> bool:
    found = connection.execute(
        "SELECT FROM pg_catalog.pg_stat_activity WHERE pid = ANY (%s)", (pids,)
    )
    return found.rowcount > 0


def _drop_scratch(connection: Connection) -> list[str]:
    """Drop the scratch databases of ended runs, with the statement of theirs that still runs."""
    found = connection.execute(_OURS, (SCRATCH_PREFIX,)).fetchall()
    ended = [name for name, _ in found if _has_ended(maker_of_name(name, SCRATCH_PREFIX))]
    return [name for name in ended if _drop(connection, name, force=True)]


# --- test databases ---------------------------------------------------------------------------

_OURS = """
SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
 WHERE pg_catalog.starts_with(datname, %s)
   AND pg_catalog.pg_get_userbyid(datdba) = CURRENT_USER
"""
_AT_WORK = """
SELECT pg_catalog.substr(application_name, pg_catalog.length(%(prefix)s::text) + 1)
  FROM pg_catalog.pg_stat_activity
 WHERE pg_catalog.starts_with(application_name, %(prefix)s)
"""


def sweep_databases(connection: Connection, *, evidence: timedelta = _EVIDENCE) -> Swept:
    """Drop the test databases of runs that have ended, and evidence that is older than that.

    What was kept or lent is dropped only when nobody is connected to it, but for what was lent to
    a process that has ended. Of evidence no more than forty databases stay, the newest.
    """
    now = datetime.now(UTC)
    found = connection.execute(_OURS, (PREFIX,)).fetchall()
    # (Behind the databases: a run that begins in between makes none before it can be seen.)
    at_work = {row[0] for row in connection.execute(_AT_WORK, {"prefix": APPLICATION}).fetchall()}
    dropped, in_use, stuck = list[str](), list[str](), list[str]()
    noted = {name: notes_in(comment) for name, comment in found}
    surplus = _beyond_the_newest(noted)
    for name, notes in noted.items():
        maker = maker_of_name(name, PREFIX)
        if maker is None or _is_at_work(maker, at_work):
            continue
        if name not in surplus and _is_to_stay(notes, now, evidence):
            continue
        # (Of another machine's run nobody knows: somebody inside means that it goes on.)
        force = maker.is_here and not (notes.kept_at or notes.lent_until)
        force = force or _has_ended(notes.borrower)
        if _drop(connection, name, force=force):
            dropped.append(name)
        else:
            (stuck if force else in_use).append(name)
    return Swept(dropped=tuple(dropped), in_use=tuple(in_use), stuck=tuple(stuck))


def _beyond_the_newest(noted: Mapping[str, Notes]) -> set[str]:
    """Name what was kept, but for the newest."""
    kept = [(notes.kept_at, name) for name, notes in noted.items() if notes.kept_at]
    return {name for _, name in sorted(kept, reverse=True)[_MOST_EVIDENCE:]}


def _is_to_stay(notes: Notes, now: datetime, evidence: timedelta) -> bool:
    """Say whether a database was kept or lent, and still is."""
    # (Another machine's clock may be ahead of ours.)
    if notes.kept_at and evidence and now - notes.kept_at < evidence:
        return True
    return bool(notes.lent_until and now < notes.lent_until and not _has_ended(notes.borrower))


def _is_at_work(maker: Maker, at_work: set[str]) -> bool:
    return not maker.has_ended if maker.is_here else str(maker) in at_work


def _has_ended(process: Maker | None) -> bool:
    return process is not None and process.has_ended


_INSIDE = "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE datname = %s"


def _drop(connection: Connection, name: str, *, force: bool) -> bool:
    """Drop a database; say whether it is gone. Raises Unreachable."""
    try:
        if force:
            drop_left_database(connection, name)
        elif connection.execute(_INSIDE, (name,)).fetchall():
            return False  # the server would say so after five seconds
        else:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    except Unreachable:
        raise
    except (psycopg.Error, TargetError, LockBusy):
        return False
    return True
