"""Accepted files, run one after the other: each on a session that no earlier one has touched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from headwater.errors import LockBusy, TargetError
from headwater.files.accepted import Accepted
from headwater.model import MigrationResult, Notify, Plan, Said, Schema, Started, Target
from headwater.postgres.connect import Connection
from headwater.postgres.job import Job, Sessions, sessions
from headwater.postgres.transaction import not_begun, run_in_transaction
from headwater.settings import Settings


def run_all(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    plan: Plan,
    accepted: Sequence[Accepted],
    settings: Settings,
    *,
    lock: Connection | None,
    connection: Connection,
    notify: Notify,
    seals: bool = True,
) -> tuple[MigrationResult, ...]:
    """Run every accepted file; `lock` is the connection that holds the lock, if it is ours.

    With the last one the fingerprint of the schema is noted, unless `seals` says that nobody asks.

    Raises before the first one when a file cannot go on where its journal says it stopped; after
    a failure, those before it stay applied.
    """
    if not all(file.migration.transactional for file in accepted):
        # Only then: it knows every statement that leaves something behind when it fails.
        from headwater.postgres.stepwise import require_resumable

        require_resumable(connection, settings, accepted)
    inside, behind = False, False
    if seals and accepted:
        inside, behind = _when_to_seal(connection, plan, settings, notify)
    newest = max(
        (e.migration.prefix for e in plan.entries if e.migration and e.applied), default=""
    )
    with sessions(target, lock) as session:
        for job in _jobs(accepted, settings, newest, notify, seals=inside):
            _run(job, session, total=len(accepted))
        if behind:
            from headwater.postgres.seal import seal

            seal(connection, settings)
        return tuple(session.results)


# For how long the last file's locks may be held for the sake of a fingerprint.
_SOON_S = 0.25


def _when_to_seal(
    connection: Connection, plan: Plan, settings: Settings, notify: Notify
) -> tuple[bool, bool]:
    """Say whether the fingerprint is noted in the last file's transaction, or behind it.

    Not at all where somebody has changed the schema since the last run: a new one would hold what
    they did. It is read once here, before anything is locked: where that takes long, what the last
    file locks is not held for it.
    """
    from headwater.postgres.seal import look

    begun = time.monotonic()
    if look(connection, settings, plan.applied) is Schema.TOUCHED:
        notify(Said(message="the schema was touched by hand since: invoke verify says where"))
        return False, False
    soon = time.monotonic() - begun < _SOON_S
    return soon, not soon


def _run(job: Job, session: Sessions, *, total: int) -> None:
    """Run one file; a transactional one may leave its COMMIT to the message of the next."""
    # (A file that is still to be committed: the lock was looked for a moment ago.)
    if session.deferred is None and not session.lock_is_held():
        raise LockBusy(
            "the connection that held the lock was lost; another runner may have begun",
            detail=f"applied in this run: {job.done} of {total}",
            hint="run the same command again: it goes on where this one stopped",
        )
    job.notify(Started(version=job.migration.version, index=job.done + 1, total=total))
    try:
        if job.migration.transactional:
            run_in_transaction(job, session)
        else:
            from headwater.postgres.stepwise import run_without_transaction

            result = run_without_transaction(job, session)
            session.forget(job)
            session.finish(job, result)
    except TargetError as error:
        told = not_begun(job, error)
        if told is error:
            raise
        raise told from error


def _jobs(
    accepted: Sequence[Accepted], settings: Settings, newest: str, notify: Notify, *, seals: bool
) -> Iterator[Job]:
    """Give the job of each file in order, each with the one behind it."""
    jobs = list[Job]()
    for index, file in reversed([*enumerate(accepted)]):
        job = Job(
            file=file,
            settings=settings,
            out_of_order=file.migration.prefix < newest,
            done=index,
            upcoming=jobs[-1] if jobs else None,
            seals=seals and not jobs,
            notify=notify,
        )
        jobs.append(job)
    return reversed(jobs)
