"""Reset: drop the managed schemas, and rebuild everything from the files.

One transaction holds all of it when every file allows that, so a broken migration leaves
yesterday's database as it was. Where one transaction cannot do, everything is first rehearsed on a
scratch database; only then are the schemas dropped, in batches, and rebuilt file by file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg import sql

from headwater.errors import (
    FilesError,
    HalfDone,
    HeadwaterError,
    LockBusy,
    MigrationFailed,
    OutcomeUnknown,
    SeedFailed,
    TargetError,
)
from headwater.files.accepted import Accepted
from headwater.model import (
    Applied,
    How,
    Migration,
    MigrationFolder,
    MigrationResult,
    Notify,
    Said,
    SeedFolder,
    Target,
    ignore,
)
from headwater.outcomes import Rebuilt, SeedResult
from headwater.postgres import history
from headwater.postgres.connect import Connection, connect, only_catalog_names, pin
from headwater.postgres.databases import locale_of, require_disposable, scratch_database
from headwater.postgres.dropping import drop_statements, some_tables
from headwater.postgres.encryption import warn
from headwater.postgres.job import Job
from headwater.postgres.lock import migration_lock, sessions_with_locks
from headwater.postgres.outsiders import Outsider, outsiders_now, outsiders_of, require_rebuilt
from headwater.postgres.patience import patiently
from headwater.postgres.rights import require_able
from headwater.postgres.run import accept, migrate
from headwater.postgres.together import (
    NEEDS_SEVERAL_TRANSACTIONS,
    PATIENCE,
    fits_into_one_transaction,
    require_sent,
    run_inside,
    run_together,
)
from headwater.postgres.transaction import BEGIN, roll_back
from headwater.postgres.translate import advice, translated
from headwater.settings import Settings

if TYPE_CHECKING:
    from headwater.files.seed_refusals import ReadySeeds

T = TypeVar("T")


class _SeveralTransactionsNeeded(Exception):
    """One transaction cannot hold the whole rebuild; it was rolled back."""

    def __init__(self, failure: HeadwaterError) -> None:
        words = getattr(failure.__cause__, "diag", None)
        super().__init__(words.message_primary if words else failure.message)
        self.failure = failure


def reset(
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    *,
    seeds: SeedFolder | None = None,
    notify: Notify = ignore,
) -> Rebuilt:
    """Drop the managed schemas, empty history, and run every file again; then the seeds, if given.

    In order: check the seeds; connect; require a target that can be written to and is disposable;
    lock; check every file, drop, rebuild and seed in one transaction. After any failure there the
    database is as it was.
    Raises FilesError when a file is refused, UnsafeTarget when the target is not disposable, or
    when the cascade would take what the files do not rebuild.
    """
    if not folder.migrations:
        raise FilesError(
            f"there is no migration in {folder.path}",
            hint="a reset would only drop; begin with invoke migration.new NAME",
        )
    ready = _accepted_seeds(seeds)
    with connect(target, purpose="reset") as connection:
        warn(connection, target, notify)
        require_able(connection, target, settings)
        with translated("looking at the target"):
            require_disposable(connection, target)
        history.has_history(connection, settings)
        with migration_lock(target, settings, notify):
            job = _Rebuild(
                target=target, folder=folder, settings=settings, notify=notify, seeds=ready
            )
            if not all(migration.transactional for migration in folder.migrations):
                return job.in_steps(connection)
            try:
                return job.atomically(connection)
            except _SeveralTransactionsNeeded as reason:
                notify(Said(message=f"one transaction cannot hold this reset ({reason})"))
                return job.in_steps(connection, because=reason.failure)


def _accepted_seeds(seeds: SeedFolder | None) -> ReadySeeds | None:
    if seeds is None:
        return None
    from headwater.files.seed_refusals import accept_seeds  # only now: it loads the parser

    return accept_seeds(seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rebuild:
    """One reset: what is rebuilt, where, and who is told."""

    target: Target
    folder: MigrationFolder
    settings: Settings
    notify: Notify
    seeds: ReadySeeds | None

    # --- in one transaction -------------------------------------------------------------------

    def atomically(self, connection: Connection) -> Rebuilt:
        """Rebuild in one transaction, trying again while a lock is not to be had."""
        return self._patiently(connection, lambda: self._try_atomically(connection))

    def _check_files(self, before: Sequence[Applied]) -> tuple[Accepted, ...]:
        """Check every file that did not run here before, and prepare what its record says.

        What did run, byte for byte, was accepted then: `before` is the history that holds it.
        """
        known = {row.checksum: row.tokens for row in before if row.how == How.RUN and row.tokens}
        unknown = [m for m in self.folder.migrations if not _is_known(m, known)]
        checked = {file.migration.version: file for file in accept(unknown)}
        for file in checked.values():
            if not fits_into_one_transaction(file):
                raise _SeveralTransactionsNeeded(
                    MigrationFailed(f"{file.migration.version}.sql sets constraints")
                )
            _ = file.tokens  # computed here, while the server drops
        return tuple(
            checked.get(m.version) or Accepted(migration=m, known_tokens=known[m.checksum])
            for m in self.folder.migrations
        )

    def _patiently(self, connection: Connection, action: Callable[[], T]) -> T:
        """Do what is all or nothing, trying again while a lock is not to be had."""
        timeout_ms = self.settings.lock_timeout_ms
        return patiently(
            action,
            PATIENCE,
            blockers=lambda: sessions_with_locks(connection),
            tell=lambda said: self.notify(Said(message=said)),
            give_up=lambda attempts: LockBusy(
                f"a lock was not to be had within {timeout_ms} ms, {attempts} times; "
                "nothing changed",
                hint="close the sessions that use the schema, then try again",
            ),
        )

    def _try_atomically(self, connection: Connection) -> Rebuilt:
        """Drop, rebuild, commit; or roll all of it back.

        The files are checked while the server drops: both take a while, and a refusal rolls back.
        """
        accepted: list[Accepted] = []
        with translated("preparing the session"):
            pin(connection, lock_timeout_ms=self.settings.lock_timeout_ms)
        outsiders = outsiders_of(connection, self.settings)
        before = history.read_history(connection, self.settings)
        try:
            self._begin(connection, meanwhile=lambda: accepted.extend(self._check_files(before)))
            results = tuple(run_together(connection, self._jobs(accepted)))
            if outsiders:
                require_rebuilt(outsiders, outsiders_now(connection, outsiders))
            seeded = self._seed_inside(connection)
            require_sent(connection, b"COMMIT", "committing the reset")
        except BaseException as error:
            roll_back(connection)
            if isinstance(error, MigrationFailed):
                cause = error.__cause__
                what = advice(cause) if isinstance(cause, psycopg.Error) else ""
                error.hint = f"nothing changed in {self.target.database}; {what or _MEND}"
            if isinstance(error, SeedFailed):
                what = _LEFT if error.left else f"nothing changed in {self.target.database}"
                error.hint = f"{what}; {_MEND_SEED}"
            _raise_if_several_needed(error)
            raise
        return Rebuilt(results=results, schemas=self.settings.schemas, atomic=True, seeds=seeded)

    def _seed_inside(self, connection: Connection) -> tuple[SeedResult, ...]:
        """Run the seeds inside the transaction of the rebuild."""
        if self.seeds is None:
            return ()
        from headwater.postgres.seeding import run_seeds

        return run_seeds(connection, self.seeds, self.settings, notify=self.notify)

    def _begin(
        self, connection: Connection, *, meanwhile: Callable[[], object] | None = None
    ) -> None:
        """Begin the transaction: drop the schemas, make or empty history."""
        begin = BEGIN + drop_statements(connection, self.settings)
        begin += b"SET LOCAL search_path = '';\n" + history.creation(connection, self.settings)
        begin += _empty_history(self.settings, connection) + b"RESET search_path;\n"
        require_sent(connection, begin, "dropping the schemas", meanwhile=meanwhile)

    def _jobs(self, accepted: Sequence[Accepted]) -> list[Job]:
        return [Job(file=file, settings=self.settings, notify=self.notify) for file in accepted]

    # --- in several transactions --------------------------------------------------------------

    def in_steps(self, connection: Connection, *, because: HeadwaterError | None = None) -> Rebuilt:
        """Rehearse on a scratch database, then empty history, drop, and rebuild file by file.

        `because` is what one transaction failed with: it is what is told where no rehearsal is
        possible. Until the rehearsal has gone well, nothing is touched. After a failure while
        dropping, history is empty, and another reset goes on.
        """
        accepted = accept(self.folder.migrations)
        with translated("preparing the session"):
            pin(connection, lock_timeout_ms=self.settings.lock_timeout_ms)
        self._rehearse(connection, outsiders_of(connection, self.settings), because)
        if because is None:
            self._patiently(connection, lambda: self._try_beginning(connection, accepted))
        self.notify(Said(message="the rehearsal went well; dropping and rebuilding"))
        self._drop(connection)
        results = self._rebuild()
        return Rebuilt(
            results=results,
            schemas=self.settings.schemas,
            atomic=False,
            seeds=self._seed_rebuilt(),
        )

    def _try_beginning(self, connection: Connection, accepted: Sequence[Accepted]) -> None:
        """Drop and run the first files on the target itself, as far as a transaction can; undo.

        A fresh scratch database lacks what stands outside the managed schemas of the target: an
        extension or a publication that a file makes is there already, and would end the rebuild
        when everything is dropped.
        """
        beginning = list(itertools.takewhile(fits_into_one_transaction, accepted))
        try:
            self._begin(connection)
            for job in self._jobs(beginning):
                run_inside(connection, job)
        except HeadwaterError as error:
            if not isinstance(error.__cause__, NEEDS_SEVERAL_TRANSACTIONS):
                error.hint = f"nothing changed in {self.target.database}; {_REPEATABLE}"
                raise
        finally:
            roll_back(connection)

    def _rebuild(self) -> tuple[MigrationResult, ...]:
        """Run every file on the target, whose schemas are dropped by now."""
        try:
            # The lock is held by our caller; a database-wide lock is taken once for each session.
            results = migrate(
                self.target, self.folder, self.settings, notify=self.notify, locked=True
            ).results
        except (MigrationFailed, LockBusy, TargetError, FilesError) as error:
            raise HalfDone(
                f"{error.message}; the schemas are dropped already",
                detail=error.detail,
                hint="mend the file, then run invoke reset again",
            ) from error
        if len(results) != len(self.folder.migrations):
            raise HalfDone(
                f"{len(results)} of {len(self.folder.migrations)} migrations were run",
                detail="history was not empty after the drop: somebody writes to it",
                hint="run invoke reset again, alone",
            )
        return results

    def _seed_rebuilt(self) -> tuple[SeedResult, ...]:
        """Run the seeds on the target, whose schemas are rebuilt by now."""
        if self.seeds is None:
            return ()
        from headwater.postgres.seeding import apply_accepted

        try:
            return apply_accepted(
                self.target, self.seeds, self.settings, notify=self.notify
            ).results
        except (SeedFailed, LockBusy, TargetError) as error:
            raise HalfDone(
                f"{error.message}; the schemas are rebuilt already, and without seeds",
                detail=error.detail,
                hint=_MEND_SEED,
            ) from error

    def _rehearse(
        self,
        connection: Connection,
        outsiders: Sequence[Outsider],
        because: HeadwaterError | None,
    ) -> None:
        """Build everything on a scratch database of the same server; nothing else is touched."""
        self.notify(Said(message="rehearsing on a scratch database first"))
        with ExitStack() as stack:
            try:
                scratch = stack.enter_context(
                    scratch_database(self.target, locale=locale_of(connection))
                )
            except TargetError as error:
                raise _not_rehearsed(error, because) from error
            try:
                migrate(scratch, self.folder, self.settings)
            except (MigrationFailed, HalfDone, OutcomeUnknown, LockBusy) as error:
                raise MigrationFailed(
                    f"{error.message} (in a rehearsal)",
                    detail=error.detail,
                    hint=f"nothing changed in {self.target.database}; {_MEND}",
                ) from error
            self._rehearse_seeds(scratch)
            if outsiders:
                with connect(scratch, purpose="rehearsal") as rehearsed:
                    require_rebuilt(outsiders, outsiders_now(rehearsed, outsiders))

    def _rehearse_seeds(self, scratch: Target) -> None:
        if self.seeds is None:
            return
        from headwater.postgres.seeding import apply_accepted

        try:
            apply_accepted(scratch, self.seeds, self.settings)
        except SeedFailed as error:
            raise SeedFailed(
                f"{error.message} (in a rehearsal)",
                detail=error.detail,
                hint=f"nothing changed in {self.target.database}; {_MEND_SEED}",
                finding=error.finding,
            ) from error

    def _drop(self, connection: Connection) -> None:
        """Empty history and drop, in one transaction where the lock table is large enough."""
        try:
            self._patiently(connection, lambda: self._drop_at_once(connection))
        except TargetError as error:
            if not isinstance(error.__cause__, psycopg.errors.OutOfMemory):
                raise
            self._drop_in_batches(connection)

    def _drop_at_once(self, connection: Connection, message: bytes = b"") -> None:
        """Empty history, then drop what `message` says (all, when it says nothing)."""
        message = message or drop_statements(connection, self.settings)
        if history.has_history(connection, self.settings):
            # Never a history that says of dropped tables that they are there.
            message = _empty_history(self.settings, connection) + message
        try:
            require_sent(connection, b"BEGIN;" + message + b"COMMIT", "dropping the schemas")
        except BaseException:
            roll_back(connection)
            raise

    def _drop_in_batches(self, connection: Connection) -> None:
        """Drop tables by batches, each its own transaction, then what is left of the schemas."""
        begun = False
        try:
            while tables := some_tables(connection, self.settings):
                names = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
                drop = sql.SQL("DROP TABLE {} CASCADE;").format(names).as_bytes(connection)
                self._patiently(connection, partial(self._drop_at_once, connection, drop))
                begun = True
            self._patiently(connection, lambda: self._drop_at_once(connection))
        except HeadwaterError as error:
            if not begun:
                raise
            raise HalfDone(
                f"{error.message.removesuffix('; nothing changed')}; "
                "some tables are dropped already",
                detail=error.detail,
                hint="run invoke reset again: the rehearsal went well, it only has to end",
            ) from error


_MEND = "mend the file and run invoke reset again"
_LEFT = "it ended the transaction itself, and what it did may have stayed"
_MEND_SEED = "mend the seed and run invoke reset --seed again"
_REPEATABLE = (
    "what a file makes outside the managed schemas stays when they are dropped: write it so that "
    "it can run twice"
)


def _is_known(migration: Migration, known: Mapping[str, str]) -> bool:
    """Say whether a file need not be parsed: it ran before, and holds for its own transaction."""
    return (
        migration.checksum in known
        and migration.verify is None
        and "constraints" not in migration.text.lower()
    )


def _not_rehearsed(error: TargetError, because: HeadwaterError | None) -> HeadwaterError:
    """Choose what to tell where no scratch database can be made: the first error, if any."""
    if because is None:
        return TargetError(
            f"this reset needs a rehearsal, and {error.message}; nothing changed",
            detail=error.detail,
            hint="have the role given CREATEDB",
        )
    because.detail = "\n".join(filter(None, [because.detail, f"no rehearsal: {error.message}"]))
    return because


def _raise_if_several_needed(error: BaseException) -> None:
    cause = error.__cause__
    if isinstance(error, SeedFailed) and isinstance(cause, psycopg.IntegrityError):
        return  # its row is at fault: seeds share one transaction wherever they run
    if isinstance(error, HeadwaterError) and isinstance(cause, NEEDS_SEVERAL_TRANSACTIONS):
        raise _SeveralTransactionsNeeded(error) from error


# Of another role's history, whether ours may take it over.
_OF_ANOTHER = """
SELECT pg_catalog.pg_has_role(CURRENT_USER, c.relowner, 'USAGE')
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
 WHERE n.nspname = %s AND c.relname = %s AND r.rolname <> CURRENT_USER
"""


def _empty_history(settings: Settings, connection: Connection) -> bytes:
    """Give the statements that empty history and journal, and make them the rebuilder's.

    The owner of the history is the role that built the schema: verify reads it as that.
    """
    tables = (history.table(settings), history.table(settings, "_steps"))
    statements = sql.SQL("DELETE FROM {}; DELETE FROM {};\n").format(*tables)
    with translated("looking at the history"), only_catalog_names(connection):
        found = connection.execute(
            _OF_ANOTHER, (settings.history_schema, settings.history_table)
        ).fetchone()
    if found == (True,):
        statements += sql.SQL(
            "ALTER TABLE {} OWNER TO CURRENT_USER; ALTER TABLE {} OWNER TO CURRENT_USER;\n"
        ).format(*tables)
    return statements.as_bytes(connection)
