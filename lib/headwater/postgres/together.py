"""Several files in one transaction that somebody else begins and ends: a reset's, or a trial's.

Each file has the guards, the pins, the record and the post-condition that it has in a transaction
of its own, and meets nothing that an earlier one has left in the session.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import psycopg

from headwater.errors import MigrationFailed
from headwater.model import Finished, MigrationResult, Started
from headwater.postgres.connect import pins
from headwater.postgres.job import lock_timeout_of
from headwater.postgres.patience import NO_LOCK, Patience
from headwater.postgres.session import FORGET, holds_for_the_transaction
from headwater.postgres.transaction import (
    ConnectionLost,
    Message,
    run_with_record,
    savepoint_name,
)
from headwater.postgres.translate import translation
from headwater.postgres.wire import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from headwater.files.accepted import Accepted
    from headwater.postgres.connect import Connection
    from headwater.postgres.job import Job

# Every attempt runs all of the files again.
PATIENCE = Patience(attempts=5, first_pause_s=0.2, longest_pause_s=8.0)

# What one transaction may refuse although every file by itself is right.
NEEDS_SEVERAL_TRANSACTIONS = (
    psycopg.errors.UnsafeNewEnumValueUsage,  # ALTER TYPE … ADD VALUE, used by a later file
    psycopg.errors.OutOfMemory,  # 53200: the lock table is full
    psycopg.errors.ObjectInUse,  # pending trigger events of an earlier file
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.IntegrityError,  # now() is one moment in all files: a unique timestamp
)


def fits_into_one_transaction(file: Accepted) -> bool:
    """Say whether a file may share a transaction with those behind it, as far as its text tells."""
    return file.migration.transactional and not holds_for_the_transaction(file.script)


def run_together(connection: Connection, jobs: Sequence[Job]) -> Iterator[MigrationResult]:
    """Run files one after the other inside the transaction that is open, telling of each."""
    for index, job in enumerate(jobs, start=1):
        job.notify(Started(version=job.migration.version, index=index, total=len(jobs)))
        result = run_inside(connection, job)
        job.notify(Finished(result=result))
        yield result


def run_inside(connection: Connection, job: Job) -> MigrationResult:
    """Run one file inside the transaction that is open, then make its session forget it."""
    begun = time.monotonic()
    name = savepoint_name()
    message = Message.of_file(
        job,
        before=b"SET lock_timeout = %d; SAVEPOINT %s;\n"
        % (lock_timeout_of(job.migration, job.settings), name),
        after=check_what_is_deferred(name),
    )
    forget = FORGET + pins(connection, lock_timeout_ms=job.settings.lock_timeout_ms)
    try:
        ran = run_with_record(connection, job, message, then=forget)
    except ConnectionLost as failure:
        raise MigrationFailed(
            f"{job.migration.version}.sql: the connection was lost; nothing changed",
            detail=str(failure).strip(),
            hint="run the same command again",
        ) from failure.error
    return MigrationResult(
        version=job.migration.version,
        duration_ms=round((time.monotonic() - begun) * 1_000),
        statements=ran.statements,
    )


def check_what_is_deferred(savepoint: bytes) -> bytes:
    """Give what asks the deferred constraints, and then releases the savepoint of the file."""
    return _CHECK_WHAT_IS_DEFERRED % ((savepoint,) * 4)


# What the file has deferred is run here, so that its violations are its own, and taken back: it
# runs again at COMMIT, and a later file finds its constraints as deferred as in production.
# (SET CONSTRAINTS itself would hold until the end of the transaction.)
_CHECK_WHAT_IS_DEFERRED = b"""\
SAVEPOINT %s_deferred; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO %s_deferred;
RELEASE %s_deferred; RELEASE %s;
"""


def require_sent(
    connection: Connection,
    message: bytes,
    doing: str,
    *,
    meanwhile: Callable[[], object] | None = None,
) -> None:
    """Send statements of ours. Raises what they failed with, and NO_LOCK as it is: to try again."""
    reply = send(connection, message, meanwhile=meanwhile)
    if isinstance(reply.error, NO_LOCK):
        raise reply.error
    if reply.error is not None:
        raise translation(reply.error, doing) from reply.error
