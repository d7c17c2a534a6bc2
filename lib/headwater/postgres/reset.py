"""Reset: drop the managed schemas, and rebuild everything from the files.

One transaction holds all of it when every file allows that, so a broken migration leaves
yesterday's database as it was. Where one transaction cannot do, everything is first rehearsed on a
scratch database; only then are the schemas dropped, in batches, and rebuilt file by file.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

import psycopg
from psycopg import sql

from headwater.errors import FilesError, HeadwaterError, LockBusy, MigrationFailed, UnsafeTarget
from headwater.files.refusals import Accepted
from headwater.model import (
    Finished,
    MigrationFolder,
    MigrationResult,
    Notify,
    Rebuilt,
    Said,
    Started,
    Target,
    ignore,
)
from headwater.postgres import history
from headwater.postgres.connect import Connection, connect, pin, pins, with_database
from headwater.postgres.databases import require_disposable, scratch_database
from headwater.postgres.lock import migration_lock
from headwater.postgres.run import (
    ConnectionLost,
    Job,
    Message,
    accept,
    lock_timeout_of,
    migrate,
    require_sentences,
    roll_back,
    savepoint_name,
)
from headwater.postgres.session import FORGET
from headwater.postgres.translate import facts, translated, translation
from headwater.postgres.wire import send
from headwater.settings import Settings

ATTEMPTS = 5
_FIRST_PAUSE_S = 0.2

# Tables dropped in one transaction when there are too many for the lock table: each takes a lock
# for itself, its indexes and its TOAST table. The default lock table holds 64 × 100.
_BATCH = 200

# What one transaction may refuse although every file by itself is right.
_NEEDS_SEVERAL_TRANSACTIONS = (
    psycopg.errors.UnsafeNewEnumValueUsage,  # ALTER TYPE … ADD VALUE, used by a later file
    psycopg.errors.OutOfMemory,  # 53200: the lock table is full
    psycopg.errors.ObjectInUse,  # pending trigger events of an earlier file
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.errors.IntegrityConstraintViolation,  # deferred constraints, checked at each file's end
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outsider:
    """An object outside the managed schemas that dropping them would take."""

    type: str
    identity: str

    def __str__(self) -> str:
        return f"{self.type} {self.identity}"


class _SeveralTransactionsNeeded(Exception):
    """One transaction cannot hold the whole rebuild; it was rolled back."""


def reset(
    target: Target, folder: MigrationFolder, settings: Settings, *, notify: Notify = ignore
) -> Rebuilt:
    """Drop the managed schemas, empty history, and run every file again.

    In order: check every file; connect; require a disposable target; lock; drop and rebuild in
    one transaction. After any failure there the database is as it was. Raises UnsafeTarget when
    the target is not disposable, or when the cascade would take what the files do not rebuild.
    """
    accepted = accept(folder.migrations)
    if not accepted:
        raise FilesError(
            f"there is no migration in {folder.path}",
            hint="a reset would only drop; begin with invoke migration.new NAME",
        )
    with connect(target, purpose="reset") as connection:
        with translated("looking at the target"):
            require_disposable(connection, target)
        history.has_history(connection, settings)
        with migration_lock(target, settings, notify):
            job = _Rebuild(target=target, folder=folder, settings=settings, notify=notify)
            if all(file.migration.transactional for file in accepted):
                try:
                    return job.atomically(connection, accepted)
                except _SeveralTransactionsNeeded as reason:
                    notify(Said(message=f"one transaction cannot hold this reset ({reason})"))
            return job.in_steps(connection)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rebuild:
    """One reset: what is rebuilt, where, and who is told."""

    target: Target
    folder: MigrationFolder
    settings: Settings
    notify: Notify

    # --- in one transaction -------------------------------------------------------------------

    def atomically(self, connection: Connection, accepted: Sequence[Accepted]) -> Rebuilt:
        """Rebuild in one transaction, trying again while a lock is not to be had."""
        pause = _FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._try_atomically(connection, accepted)
            except psycopg.errors.LockNotAvailable as error:
                if attempt == ATTEMPTS:
                    raise LockBusy(
                        f"a lock was not to be had within {self.settings.lock_timeout_ms} ms, "
                        f"{attempt} times; nothing changed",
                        detail=facts(error),
                        hint="close the sessions that use the schema, then try again",
                    ) from error
                self.notify(Said(message=f"{error.diag.message_primary}; trying again"))
                time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause *= 2
        raise AssertionError("unreachable")

    def _try_atomically(self, connection: Connection, accepted: Sequence[Accepted]) -> Rebuilt:
        pin(connection, lock_timeout_ms=self.settings.lock_timeout_ms)
        outsiders = outsiders_of(connection, self.settings)
        begin = b"BEGIN;" + drop_statements(connection, self.settings)
        begin += history.creation(connection, self.settings)
        begin += _empty_history(connection, self.settings)
        try:
            self._require_sent(connection, begin, "dropping the schemas")
            results = tuple(self._build(connection, accepted))
            if outsiders:
                _require_rebuilt(outsiders, outsiders_now(connection, outsiders))
            self._require_sent(connection, b"COMMIT", "committing the reset")
        except BaseException as error:
            roll_back(connection)
            _raise_if_several_needed(error)
            raise
        return Rebuilt(results=results, schemas=self.settings.schemas, atomic=True)

    def _require_sent(self, connection: Connection, message: bytes, doing: str) -> None:
        reply = send(connection, message)
        if isinstance(reply.error, psycopg.errors.LockNotAvailable):
            raise reply.error
        if reply.error is not None:
            raise translation(reply.error, doing) from reply.error

    def _build(
        self, connection: Connection, accepted: Sequence[Accepted]
    ) -> Iterator[MigrationResult]:
        for index, file in enumerate(accepted, start=1):
            self.notify(Started(version=file.migration.version, index=index, total=len(accepted)))
            result = self._run_inside(connection, file)
            self.notify(Finished(result=result))
            yield result

    def _run_inside(self, connection: Connection, file: Accepted) -> MigrationResult:
        """Run one file inside the reset's transaction, then make its session forget it."""
        begun = time.monotonic()
        job = Job(file=file, settings=self.settings, notify=self.notify)
        timeout_ms = lock_timeout_of(file.migration, self.settings)
        name = savepoint_name()
        message = Message.of_file(
            job,
            before=b"SET lock_timeout = %d; SAVEPOINT %s;\n" % (timeout_ms, name),
            after=b"SET CONSTRAINTS ALL IMMEDIATE; RELEASE %s;\n" % name,
        )
        forget = FORGET + pins(connection, lock_timeout_ms=self.settings.lock_timeout_ms)
        try:
            if file.sentences:
                message.send(connection)
                require_sentences(connection, file.sentences, file.migration)
                elapsed = sql.Literal(round((time.monotonic() - begun) * 1_000))
                reply = send(connection, job.record(connection, elapsed) + forget)
                message.require_success(reply, offset=0)
            else:
                message.send(connection, then=job.record(connection) + forget)
        except ConnectionLost as failure:
            raise MigrationFailed(
                f"{file.migration.version}.sql: the connection was lost; nothing changed",
                detail=str(failure).strip(),
                hint="run invoke reset again",
            ) from failure.error
        return MigrationResult(
            version=file.migration.version,
            duration_ms=round((time.monotonic() - begun) * 1_000),
            statements=len(file.script.statements),
        )

    # --- in several transactions --------------------------------------------------------------

    def in_steps(self, connection: Connection) -> Rebuilt:
        """Rehearse on a scratch database, then drop in batches and rebuild file by file."""
        pin(connection, lock_timeout_ms=self.settings.lock_timeout_ms)
        outsiders = outsiders_of(connection, self.settings)
        self.notify(Said(message="rehearsing on a scratch database first"))
        server = with_database(self.target, "postgres", "scratch server")
        with scratch_database(server, like=connection) as scratch:
            migrate(scratch, self.folder, self.settings)
            if outsiders:
                with connect(scratch, purpose="rehearsal") as rehearsed:
                    _require_rebuilt(outsiders, outsiders_now(rehearsed, outsiders))
        self.notify(Said(message="the rehearsal went well; dropping and rebuilding"))
        self._drop_in_batches(connection)
        with translated("emptying history"):
            connection.execute(_empty_history(connection, self.settings, if_exists=True))
        # The lock is held by our caller; a database-wide lock is taken once for each session.
        results = migrate(
            self.target, self.folder, self.settings, notify=self.notify, locked=True
        ).results
        return Rebuilt(results=results, schemas=self.settings.schemas, atomic=False)

    def _drop_in_batches(self, connection: Connection) -> None:
        """Drop tables by batches, each its own transaction, then what is left of the schemas."""
        while tables := _some_tables(connection, self.settings):
            names = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
            with translated("dropping the schemas"):
                connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(names))
        self._require_sent(
            connection,
            b"BEGIN;" + drop_statements(connection, self.settings) + b"COMMIT",
            "dropping the schemas",
        )


def _raise_if_several_needed(error: BaseException) -> None:
    cause = error.__cause__
    if isinstance(error, HeadwaterError) and isinstance(cause, _NEEDS_SEVERAL_TRANSACTIONS):
        words = getattr(cause, "diag", None)
        raise _SeveralTransactionsNeeded(words.message_primary if words else str(cause)) from error


def _empty_history(
    connection: Connection, settings: Settings, *, if_exists: bool = False
) -> bytes:
    if if_exists and not history.has_history(connection, settings):
        return b"SELECT"
    return (
        sql.SQL("DELETE FROM {}; DELETE FROM {};\n")
        .format(history.table(settings), history.table(settings, "_steps"))
        .as_bytes(connection)
    )


# --- what is dropped --------------------------------------------------------------------------


def bookkeeping(settings: Settings) -> list[str]:
    """Give the names of the tables that a managed public keeps."""
    return [settings.history_table, f"{settings.history_table}_steps"]


def drop_statements(connection: Connection, settings: Settings) -> bytes:
    """Give the statements that drop the managed schemas; a managed public is emptied instead."""
    dropped = [sql.Identifier(name) for name in settings.schemas if name != "public"]
    statements = b""
    if dropped:
        statements = (
            sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE;\n")
            .format(sql.SQL(", ").join(dropped))
            .as_bytes(connection)
        )
    if "public" in settings.schemas:
        statements += b"".join(_emptying(connection, settings))
    return statements


# Objects that stand in public by themselves: no part of something else, no member of an extension,
# not our bookkeeping. The identity is quoted and qualified by the server.
_IN_PUBLIC = """
SELECT o.type, o.identity
  FROM pg_catalog.pg_depend d
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) o
 WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
   AND d.refobjid = 'public'::pg_catalog.regnamespace AND d.deptype = 'n'
   AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid IN (
            SELECT c.oid FROM pg_catalog.pg_class c
             WHERE c.relnamespace = 'public'::pg_catalog.regnamespace
               AND c.relname = ANY (%s)))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = d.classid AND e.objid = d.objid
                      AND e.deptype IN ('e', 'i', 'a'))
 ORDER BY o.type <> 'table', o.type, o.identity
"""

# What pg_identify_object calls some types, and what DROP calls them.
_DROP_NAMES = {
    "statistics object": "STATISTICS",
    "composite type": "TYPE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "aggregate": "AGGREGATE",
}


def _emptying(connection: Connection, settings: Settings) -> Iterator[bytes]:
    with translated("looking at the schema public"):
        rows = connection.execute(_IN_PUBLIC, (bookkeeping(settings),)).fetchall()
    for kind, identity in rows:
        if kind in ("extension", "default acl"):
            continue  # an extension stays; so do default privileges, which are grants
        if kind == "aggregate" and identity.endswith("()"):
            identity = identity.removesuffix("()") + "(*)"
        name = _DROP_NAMES.get(kind, kind.upper())
        # Both texts are the server's own; the identity comes quoted.
        yield b"DROP %s IF EXISTS %s CASCADE;\n" % (name.encode(), identity.encode())


_TABLES = """
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p')
   AND NOT (n.nspname = %(history_schema)s AND c.relname = ANY (%(history)s))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
 LIMIT %(batch)s
"""


def _some_tables(connection: Connection, settings: Settings) -> list[tuple[str, str]]:
    with translated("looking at the schemas"):
        rows = connection.execute(
            _TABLES,
            {
                "schemas": list(settings.schemas),
                "history_schema": settings.history_schema,
                "history": bookkeeping(settings),
                "batch": _BATCH,
            },
        ).fetchall()
    return [(str(schema), str(name)) for schema, name in rows]


# --- what the cascade would take --------------------------------------------------------------


def outsiders_of(connection: Connection, settings: Settings) -> tuple[Outsider, ...]:
    """List the objects outside the managed schemas that dropping these would take."""
    query = resources.files(__package__).joinpath("cascade.sql").read_bytes()
    with translated("looking at what depends on the schemas"):
        rows = connection.execute(
            query, {"schemas": list(settings.schemas), "history": bookkeeping(settings)}
        ).fetchall()
    return tuple(Outsider(type=kind, identity=identity) for kind, identity in rows)


# Every user's object with the same type and identity; which of the outsiders are there now?
_NOW = """
SELECT DISTINCT o.type, o.identity
  FROM (SELECT classid, objid, objsubid FROM pg_catalog.pg_depend
        UNION SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass, oid, 0
                FROM pg_catalog.pg_extension) d
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) o
 WHERE d.objid >= 16384 AND o.identity = ANY (%s)
"""


def outsiders_now(connection: Connection, outsiders: Sequence[Outsider]) -> frozenset[Outsider]:
    """Say which of some objects exist in the connected database, inside its transaction."""
    with translated("looking at what was rebuilt"):
        rows = connection.execute(_NOW, ([o.identity for o in outsiders],)).fetchall()
    return frozenset(Outsider(type=kind, identity=identity) for kind, identity in rows)


def _require_rebuilt(outsiders: Sequence[Outsider], now: frozenset[Outsider]) -> None:
    """Raise UnsafeTarget when something outside the managed schemas would be gone for good."""
    lost = [outsider for outsider in outsiders if outsider not in now]
    if lost:
        raise UnsafeTarget(
            "reset would take objects outside the managed schemas, and the files do not rebuild "
            "them; nothing was touched",
            detail="\n".join(map(str, lost)),
            hint="drop or move them yourself, add a migration that builds them, or add their "
            "schema to HEADWATER_SCHEMAS",
        )
