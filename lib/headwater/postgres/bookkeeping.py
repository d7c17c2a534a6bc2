"""What is written to history without running a file: one transaction each, under the lock.

`mark` records a file that somebody ran by other means. What repair and baseline write (they prove
it first, see `checks`) is here too: each of them is done wholly, or nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from headwater.errors import HistoryError, LockBusy
from headwater.files.accepted import Accepted
from headwater.files.down import DOWN
from headwater.model import (
    Applied,
    Entry,
    How,
    Migration,
    MigrationFolder,
    Notify,
    Plan,
    State,
    Target,
    ignore,
)
from headwater.postgres import history, journal, record
from headwater.postgres.connect import (
    Connection,
    connect,
    pin_for_bookkeeping,
)
from headwater.postgres.databases import require_confirmed
from headwater.postgres.lock import migration_lock
from headwater.postgres.plan import advice, rows_of_renamed
from headwater.postgres.run import accept, plan_for
from headwater.postgres.translate import lost, session_ended, translated
from headwater.postgres.wire import send
from headwater.settings import Settings
from headwater.verdicts import Marked

# --- one transaction --------------------------------------------------------------------------


@contextmanager
def session_under_lock(
    target: Target, settings: Settings, *, purpose: str, notify: Notify = ignore
) -> Generator[tuple[Connection, Connection]]:
    """Hold the migration lock; give a session for bookkeeping, and the one that holds the lock."""
    with (
        migration_lock(target, settings, notify) as lock,
        connect(target, purpose=purpose) as connection,
    ):
        with translated("preparing the session"):
            pin_for_bookkeeping(connection, lock_timeout_ms=settings.lock_timeout_ms)
        yield connection, lock


def in_one_transaction(
    connection: Connection, lock: Connection, doing: str, action: Callable[[], bool]
) -> bool:
    """Write all of it, or nothing: commit when the action says so and the lock is still ours.

    Gives what the action gave. After an error nothing was changed; OutcomeUnknown says that the
    connection went around COMMIT.
    """
    with translated(doing):
        # What the action reads is one moment, the one that it writes about.
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        with translated(doing):
            agreed = action()
        if agreed:
            _require_lock(lock, doing)
    except BaseException:
        _roll_back(connection)
        raise
    if agreed:
        _commit(connection, doing)
    else:
        _roll_back(connection)
    return agreed


def _require_lock(lock: Connection, doing: str) -> None:
    """Ask the connection of the lock: when it is gone, another runner may have begun."""
    try:
        lock.execute("SELECT")
    except psycopg.Error as error:
        raise LockBusy(
            f"{doing}: the connection that held the lock was lost; nothing was changed",
            hint="run the same command again",
        ) from error


def _commit(connection: Connection, doing: str) -> None:
    try:
        with translated(doing):
            connection.execute("COMMIT")
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, psycopg.Error) and session_ended(cause):
            raise lost(doing, cause) from cause
        raise


def _roll_back(connection: Connection) -> None:
    """End a transaction; an error of ours must not hide the first one."""
    with suppress(psycopg.Error):
        connection.execute("ROLLBACK")


# --- what is written --------------------------------------------------------------------------


def record_unrun(
    connection: Connection,
    settings: Settings,
    files: Sequence[Accepted],
    *,
    how: How,
    late: frozenset[str] = frozenset(),
) -> None:
    """Record files without running them, and end their journals; make history where there is none.

    `late` are those that stand before one that was applied earlier. Each record is required to be
    kept.
    """
    if not history.has_history(connection, settings):
        connection.execute(history.creation(connection, settings))
    for file in files:
        _record(connection, settings, file, how=how, late=file.migration.version in late)


def _record(
    connection: Connection, settings: Settings, file: Accepted, *, how: How, late: bool
) -> None:
    statements = journal.forget_steps(connection, settings, file.migration.version)
    statements += record.record(
        settings,
        file.migration,
        tokens=file.tokens,
        out_of_order=late,
        duration=b"NULL",
        how=how,
    )
    reply = send(connection, statements)
    if reply.error is not None and not record.is_replaced(reply.error):
        raise reply.error
    version = file.migration.version
    if reply.error or not record.judge(connection, settings, version, reply, -1).kept:
        raise HistoryError(
            f"{file.migration.version}: {record.NOT_KEPT}; nothing was changed",
            hint="a rule or a trigger of the table took it away: remove that",
        )


def record_edit(connection: Connection, settings: Settings, row: Applied, file: Accepted) -> None:
    """Take the checksum and the tokens of the file as it is now, in the one row that was read."""
    _change(
        connection,
        settings,
        row,
        sql.SQL("checksum = {}, tokens = {}").format(file.migration.checksum, file.tokens),
    )


def record_name(
    connection: Connection, settings: Settings, row: Applied, migration: Migration
) -> None:
    """Take the new name of a file, in the one row that was read."""
    _change(connection, settings, row, sql.SQL("version = {}").format(migration.version))


def _change(connection: Connection, settings: Settings, row: Applied, what: sql.Composable) -> None:
    """Change exactly the row that was read; raise when it is another one by now."""
    changed = connection.execute(
        sql.SQL("UPDATE {} SET {} WHERE version = {} AND checksum = {}").format(
            history.table(settings), what, row.version, row.checksum
        )
    ).rowcount
    if changed != 1:
        raise HistoryError(
            f"{row.version}: {changed} rows of {settings.history} are what was read; "
            "nothing was changed",
            hint="somebody changes history by hand: invoke status",
        )


# --- mark -------------------------------------------------------------------------------------


def mark(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    version: str,
    *,
    confirm: str = "",
    notify: Notify = ignore,
) -> Marked:
    """Record one pending file as applied, without running it; clear its journal, if it has one.

    Of one that is half undone the row is there: its undoing is given up, and it is applied again.

    Whoever marks says that all the file does is there: nothing looks. So a target that is not
    disposable wants its name in `confirm`. Raises HistoryError unless exactly this file is
    pending, FilesError when it is none that could run, UnsafeTarget without the name.
    """
    with session_under_lock(target, settings, purpose="mark", notify=notify) as (connection, lock):
        plan = plan_for(connection, folder, settings)
        entry = require_entry(plan, version)
        migration = _require_markable(plan, entry)
        undone = entry.state is State.HALF_UNDONE
        require_confirmed(
            connection,
            target,
            confirm,
            command=f"invoke history.mark {version}",
            why="a file that is marked never runs; nothing looks whether what it does is there",
        )
        accepted = accept([migration])
        late = frozenset({version}) if _is_late(plan, migration) else frozenset()

        def write() -> bool:
            if undone:
                # Its row is there; what its down file has done was taken back.
                connection.execute(journal.forget_steps(connection, settings, version + DOWN))
                return True
            record_unrun(connection, settings, accepted, how=How.MARKED, late=late)
            return True

        in_one_transaction(connection, lock, f"recording {version}", write)
    return Marked(version=version, was=entry.state)


def _is_late(plan: Plan, migration: Migration) -> bool:
    """Say whether a later date was applied before it."""
    applied = (entry.version for entry in plan.entries if entry.applied)
    return any(version.partition("_")[0] > migration.prefix for version in applied)


def require_entry(plan: Plan, version: str) -> Entry:
    """Give the entry of a version. Raises HistoryError when neither files nor history know it."""
    for entry in plan.entries:
        if entry.version == version:
            return entry
    raise HistoryError(
        f"there is no migration {version!r}; nothing was changed",
        hint="invoke status lists the versions; write one in full",
    )


_MARKABLE = frozenset({State.PENDING, State.OUT_OF_ORDER, State.HALF_DONE, State.HALF_UNDONE})


def _require_markable(plan: Plan, entry: Entry) -> Migration:
    if entry.state not in _MARKABLE or entry.migration is None:
        applied = "it is applied already" if entry.applied else "there is no file of it"
        raise HistoryError(
            f"{entry.version} cannot be marked: {applied} ({entry.state}); nothing was changed",
            hint=advice(entry),
        )
    renamed = rows_of_renamed(plan, entry.migration)
    if renamed:
        raise HistoryError(
            f"{entry.version} cannot be marked: it was applied as {renamed[0].version}, "
            "before the file was renamed; nothing was changed",
            hint=f"invoke history.repair {entry.version}",
        )
    return entry.migration


def tokens_of(files: Sequence[Accepted]) -> Mapping[str, str]:
    """Give the token checksum of each accepted file, by version."""
    return {file.migration.version: file.tokens for file in files}
