"""Seeding: every seed in one transaction, all of them or none.

Each runs as a migration does: with the same pins, as the role that migrates, in a savepoint whose
name it cannot know, and it meets nothing that an earlier one has left in the session. What it
defers is asked at its end, so that a violation is its own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq

from headwater.errors import LockBusy, SeedFailed, UnsafeTarget
from headwater.files.seed_refusals import ReadySeed, ReadySeeds, accept_seeds
from headwater.files.text import line_at
from headwater.model import (
    Finding,
    Notify,
    Said,
    SeedFolder,
    Started,
    Target,
    ignore,
    plural,
)
from headwater.outcomes import Seeded, SeedResult
from headwater.postgres.connect import Connection, connect, pin, pins
from headwater.postgres.databases import is_disposable
from headwater.postgres.lent_connection import NotYours, lent, no_commit, was_refused
from headwater.postgres.lock import sessions_with_locks
from headwater.postgres.patience import NO_LOCK, patiently
from headwater.postgres.pooler import require_own_session
from headwater.postgres.session import FORGET
from headwater.postgres.together import PATIENCE, check_what_is_deferred, require_sent
from headwater.postgres.transaction import BEGIN, roll_back, savepoint_name
from headwater.postgres.translate import (
    Place,
    advice,
    facts,
    place_of_error,
    session_ended,
    translated,
)
from headwater.postgres.wire import Reply, send
from headwater.settings import Settings

if TYPE_CHECKING:
    from headwater.files.grammar import Script, Statement


def apply_seeds(
    target: Target, folder: SeedFolder, settings: Settings, *, notify: Notify = ignore
) -> Seeded:
    """Run every seed on a disposable database, in one transaction.

    In order: check every file, connect, require a database that is disposable, run, commit. After
    any failure the rows are as they were. Seeding takes no lock of migrations: it writes rows, and
    waits for whoever changes a table as any writer does.

    Raises FilesError (a file is refused, or there is none), UnsafeTarget (not disposable),
    SeedFailed, LockBusy.
    """
    ready = require_seedable(target, folder)
    return apply_accepted(target, ready, settings, notify=notify)


def require_seedable(target: Target, folder: SeedFolder) -> ReadySeeds:
    """Raise what `apply_seeds` would before anything is run; give the seeds for `apply_accepted`.

    For who migrates first: an empty database is disposable, and is no longer empty then.
    """
    ready = accept_seeds(folder)
    with connect(target, purpose="seed") as connection:
        require_own_session(connection, target)
        _require_disposable(connection, target)
    return ready


def apply_accepted(
    target: Target, ready: ReadySeeds, settings: Settings, *, notify: Notify = ignore
) -> Seeded:
    """Run seeds on a target that was found disposable: by `require_seedable`, or by a reset."""
    with connect(target, purpose="seed") as connection:
        require_own_session(connection, target)
        return Seeded(results=_patiently(connection, ready, settings, notify))


def _require_disposable(connection: Connection, target: Target) -> None:
    """Raise UnsafeTarget unless the database is disposable: seeds are for no other one."""
    with translated("looking at the target"):
        if is_disposable(connection):
            return
    raise UnsafeTarget(
        f"{target} is not marked as disposable, and it is not empty",
        detail="seeds are for databases whose data nobody needs; nothing was touched",
        hint=f"if it is one: invoke db.disposable {target.database}",
    )


def _patiently(
    connection: Connection, ready: ReadySeeds, settings: Settings, notify: Notify
) -> tuple[SeedResult, ...]:
    def run() -> tuple[SeedResult, ...]:
        with transaction_of_seeds(connection, settings):
            return run_seeds(connection, ready, settings, notify=notify)

    return patiently(
        run,
        PATIENCE,
        blockers=lambda: sessions_with_locks(connection),
        tell=lambda said: notify(Said(message=said)),
        give_up=lambda attempts: LockBusy(
            f"a lock was not to be had within {settings.lock_timeout_ms} ms, {attempts} times; "
            "nothing was seeded",
            hint="close the sessions that use the tables, then try again",
        ),
    )


@contextmanager
def transaction_of_seeds(connection: Connection, settings: Settings) -> Generator[None]:
    """Pin the session, and begin; commit what was run in the block, or roll it back."""
    with translated("preparing the session"):
        pin(connection, lock_timeout_ms=settings.lock_timeout_ms)
    try:
        require_sent(connection, BEGIN, "beginning to seed")
        yield
        require_sent(connection, b"COMMIT", "committing the seeds")
    except BaseException:
        roll_back(connection)
        raise


AfterEach = Callable[[ReadySeed, SeedResult], None]


def _go_on(_seed: ReadySeed, _result: SeedResult) -> None:
    """Do nothing between two seeds."""


def run_seeds(
    connection: Connection,
    ready: ReadySeeds,
    settings: Settings,
    *,
    after_each: AfterEach = _go_on,
    notify: Notify = ignore,
) -> tuple[SeedResult, ...]:
    """Run seeds one after the other inside the transaction that is open, telling of each.

    `after_each` is called behind each one, before the next one runs. Raises SeedFailed; NO_LOCK as
    it is, to try again. Either way the transaction is to be ended.
    """
    results = list[SeedResult]()
    forget = FORGET + pins(connection, lock_timeout_ms=settings.lock_timeout_ms)
    for index, seed in enumerate(ready.seeds, start=1):
        notify(Started(version=seed.file, index=index, total=len(ready.seeds)))
        begun = time.monotonic()
        if seed.script is None:
            rows, wrote = None, dict[str, int]()
            _run_python(connection, seed, ready.folder, forget)
        else:
            rows, wrote = _run_sql(connection, seed, seed.script, forget)
        result = SeedResult(
            name=seed.seed.name,
            duration_ms=round((time.monotonic() - begun) * 1_000),
            rows=rows,
            wrote=wrote,
        )
        notify(Said(message=f"ran {seed.file} in {result.duration_ms} ms{_counted(result)}"))
        after_each(seed, result)
        results.append(result)
    return tuple(results)


def _counted(result: SeedResult) -> str:
    return "" if result.rows is None else f", {plural(result.rows, 'row')}"


# --- SQL --------------------------------------------------------------------------------------


def _run_sql(
    connection: Connection, seed: ReadySeed, script: Script, forget: bytes
) -> tuple[int, dict[str, int]]:
    """Send a seed whole, with what ends it; give how many rows it has written, and where to."""
    name = savepoint_name()
    before = b"SAVEPOINT %s;\n" % name
    # A line of its own: the file may end in a comment, and without a semicolon.
    text = script.text.encode() + b"\n;\n"
    reply = send(connection, before + text + check_what_is_deferred(name) + forget)
    if reply.error is not None:
        raise _error_of_sql(reply, seed, script, offset=len(before))
    return _written(reply, script)


def _written(reply: Reply, script: Script) -> tuple[int, dict[str, int]]:
    """Count the rows that the statements of a seed have written; the first result is ours."""
    rows, wrote = 0, dict[str, int]()
    for statement, result in zip(script.statements, reply.results[1:], strict=False):
        count = (result.command_tuples or 0) if statement.kind in _WRITING else 0
        if count:
            rows += count
            wrote.setdefault(_table_of(statement), statement.line)
    return rows, wrote


_WRITING = ("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")


def _table_of(statement: Statement) -> str:
    return str(statement.node.relation.relname)


def _error_of_sql(reply: Reply, seed: ReadySeed, script: Script, *, offset: int) -> Exception:
    """Say what a reply means: a lock that was not to be had, or a failure with its place."""
    error = reply.error
    assert error is not None
    if isinstance(error, NO_LOCK):
        return error
    index = reply.succeeded - 1
    position = int(error.diag.statement_position or 0) - 1 - offset
    if index < 0 and 0 <= position < len(script.text):
        index = 0  # the server does not understand the text, and has begun nothing
    if not 0 <= index < len(script.statements):
        return _failed_at_its_end(error, seed)
    place = place_of_error(error, script, seed.file, index=index, offset=offset)
    return _failed(error, place)


# --- Python -----------------------------------------------------------------------------------


def _run_python(connection: Connection, seed: ReadySeed, folder: SeedFolder, forget: bytes) -> None:
    """Call a seed's function with the connection, whose transaction it cannot end; then end it."""
    name = savepoint_name()
    require_sent(connection, b"SAVEPOINT %s;\n" % name + no_commit(name), f"running {seed.file}")
    _call(connection, seed, folder, name)
    _require_transaction(connection, seed)
    reply = send(connection, check_what_is_deferred(name) + forget)
    if isinstance(reply.error, NO_LOCK):
        raise reply.error
    if reply.error is not None:
        raise _failed_at_its_end(reply.error, seed)


_stdout_lock = threading.RLock()


@contextmanager
def _printing_to_stderr() -> Generator[None]:
    """Send to stderr what a seed prints, and what programs print that it starts.

    It is for people: stdout may be the one object of JSON, or the URL that a script reads. Both are
    the process's: one thread at a time.
    """
    sys.stdout.flush()
    with _stdout_lock, redirect_stdout(sys.stderr), ExitStack() as stack:
        with suppress(OSError):  # one of the two is closed
            stdout = os.dup(1)
            stack.callback(os.close, stdout)
            os.dup2(2, 1)
            stack.callback(os.dup2, stdout, 1)
        yield


def _call(connection: Connection, seed: ReadySeed, folder: SeedFolder, name: bytes) -> None:
    from headwater.files.seed_modules import module_of

    try:
        with (
            _printing_to_stderr(),
            module_of(seed.seed, folder) as module,
            lent(connection) as borrowed,
        ):
            answer = module.seed(borrowed)
    except NO_LOCK:
        raise
    except (Exception, SystemExit) as error:
        raise _python_failed(error, seed, folder, name) from error
    if answer is not None:
        raise _failed_at(
            Place(file=seed.file, line=seed.line, column=0, source=_line(seed, seed.line)),
            f"seed gives a {type(answer).__name__}, and is to give nothing",
            hint="a function with yield, or an async one, has done nothing when it is called",
        )


def _require_transaction(connection: Connection, seed: ReadySeed) -> None:
    """Raise SeedFailed unless the session is in a transaction that goes on, and does nothing."""
    status = connection.pgconn.transaction_status
    busy = connection.pgconn.pipeline_status != pq.PipelineStatus.OFF
    if status == pq.TransactionStatus.INTRANS and not busy:
        return
    if status == pq.TransactionStatus.INERROR:
        what, hint = "an error of the server was caught, and ended the transaction", _INNER
    elif status == pq.TransactionStatus.IDLE:
        what, hint = _ENDED, "Headwater begins and commits"
    elif connection.closed:
        what, hint = "the connection was lost", ""
    else:
        what, hint = "it left a COPY or a pipeline open", "use them in a with block"
        connection.close()
    raise _failed_at(
        Place(file=seed.file, line=seed.line, column=0, source=_line(seed, seed.line)),
        what,
        hint=hint,
        left=what == _ENDED,
    )


_ENDED = "it ended the transaction that it ran in"
_INNER = "what may fail belongs into: with connection.transaction():"


def _python_failed(
    error: BaseException, seed: ReadySeed, folder: SeedFolder, name: bytes
) -> SeedFailed:
    """Tell of an exception: the last line of the folder's that it came through."""
    place = _place_of_exception(error, seed, folder)
    if isinstance(error, psycopg.Error):
        if was_refused(error, name):
            return _failed_at(place, _ENDED, hint="remove its COMMIT; Headwater begins and commits")
        return _failed(error, place)
    words = str(error) if isinstance(error, NotYours) else _words(error)
    return _failed_at(place, words)


def _words(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


def _place_of_exception(error: BaseException, seed: ReadySeed, folder: SeedFolder) -> Place:
    files = {seed.seed.name, *(f"{name}.py" for name in folder.helpers)}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.parent == folder.path and path.name in files and frame.lineno:
            text = folder.helpers.get(path.stem, seed.seed.text)
            source = line_at(text, frame.lineno)
            column = _characters(source, frame.colno)
            return Place(
                file=folder.shown(path.name), line=frame.lineno, column=column, source=source
            )
    return Place(file=seed.file, line=seed.line, column=0, source=_line(seed, seed.line))


def _characters(source: str, offset: int | None) -> int:
    """Turn Python's offset, which counts bytes, into a column; 0 where it knows none."""
    return 0 if offset is None else len(source.encode()[:offset].decode(errors="replace")) + 1


def _line(seed: ReadySeed, line: int) -> str:
    return line_at(seed.seed.text, line)


# --- failures ---------------------------------------------------------------------------------

_MEND = "mend it and run the command again; what the seeds had done was rolled back"


def _failed(error: psycopg.Error, place: Place) -> SeedFailed:
    """Tell of a statement that failed: the place, the line with a caret, PostgreSQL's words."""
    words, *others = facts(error).splitlines()
    what = f"the connection was lost ({words})" if session_ended(error) else words
    failure = _failed_at(place, what, detail=others, hint=advice(error) or _MEND)
    failure.__cause__ = error
    return failure


def _failed_at_its_end(error: psycopg.Error, seed: ReadySeed) -> SeedFailed:
    """Tell of a failure behind the last statement: what was deferred, or no transaction is left."""
    place = Place(file=seed.file, line=seed.line, column=0, source="")
    words, *others = facts(error).splitlines()
    gone = isinstance(error, psycopg.errors.InvalidSavepointSpecification)
    what = _ENDED if gone else f"it failed at its end: {words}"
    failure = _failed_at(place, what, detail=[words, *others] if gone else others, left=gone)
    failure.__cause__ = error
    return failure


def _failed_at(
    place: Place,
    words: str,
    *,
    detail: list[str] | None = None,
    hint: str = _MEND,
    left: bool = False,
) -> SeedFailed:
    return SeedFailed(
        f"{place}: {words}",
        detail="\n".join(filter(None, [place.drawn(), *(detail or ())])),
        hint=hint or _MEND,
        left=left,
        finding=Finding(
            rule="seed",
            message=words,
            file=place.file,
            line=place.line,
            column=place.column,
            hint=hint,
            source=place.source,
        ),
    )
