"""Claims about what is applied, each proved before it is written: repair and baseline.

The proof is a rebuild: a scratch database built from the files that history will call applied has
the same catalogue as the target. The claim is written first, in a transaction that reads the
target's catalogue too, and commits only when both are the same. What a rebuild cannot see is data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from headwater.checks.building import workshop
from headwater.checks.reading import grammar_of_accepted
from headwater.checks.rebuilding import (
    drift_between,
    failure_line,
    place_for,
    require_place,
    snapshot_of,
)
from headwater.errors import HeadwaterError, HistoryError, TargetError
from headwater.files.accepted import Accepted
from headwater.model import (
    Applied,
    Entry,
    Finding,
    How,
    Migration,
    MigrationFolder,
    Notify,
    Plan,
    Said,
    State,
    Target,
    ignore,
    plural,
)
from headwater.postgres import history
from headwater.postgres.bookkeeping import (
    in_one_transaction,
    record_edit,
    record_name,
    record_unrun,
    require_entry,
    session_under_lock,
    tokens_of,
)
from headwater.postgres.connect import Connection
from headwater.postgres.databases import locale_of
from headwater.postgres.older import changed_meanwhile, convert, files_of, read_older
from headwater.postgres.plan import (
    advice,
    files_of_renamed,
    is_cosmetic,
    make_plan,
    rows_of_renamed,
)
from headwater.postgres.run import accept, plan_for
from headwater.postgres.seal import seal
from headwater.settings import Settings
from headwater.verdicts import Baselined, CheckLine, Outcome, Repair, Repaired


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A target under the lock, and the files that should have built it."""

    connection: Connection
    lock: Connection
    target: Target
    folder: MigrationFolder
    settings: Settings
    notify: Notify

    def write(self, doing: str, action: Callable[[], object]) -> None:
        """Write without a proof, in one transaction."""

        def done() -> bool:
            action()
            return True

        in_one_transaction(self.connection, self.lock, doing, done)

    def write_if_proved(
        self, doing: str, files: Sequence[Accepted], action: Callable[[], object]
    ) -> CheckLine:
        """Write, and keep it if the target is what the files build; give the proof.

        Raises TargetError when nothing can be proved; files that do not build are a line.
        """
        place = require_place(
            place_for(
                self.connection,
                self.target,
                self.settings,
                grammar_of_accepted(files),
                self.notify,
            ),
            doing,
        )
        versions = [file.migration.version for file in files]
        self.notify(Said(message="building a scratch database from the files"))
        with ExitStack() as stack:
            try:
                shop = stack.enter_context(
                    workshop(place, self.folder, self.settings, locale_of(self.connection))
                )
                built = stack.enter_context(shop.build(versions))
                expected = built.snapshot()
            except HeadwaterError as error:
                if isinstance(error, TargetError):
                    raise
                return failure_line(error)
            proofs = list[CheckLine]()

            def done() -> bool:
                action()
                actual = snapshot_of(self.connection, self.settings)
                proofs.append(
                    drift_between(
                        expected,
                        actual,
                        scratch=lambda: built.target,
                        settings=self.settings,
                    )
                )
                if proofs[0].outcome is not Outcome.OK:
                    return False
                seal(self.connection, self.settings)
                return True

            in_one_transaction(self.connection, self.lock, doing, done)
            return proofs[0]


# --- repair -----------------------------------------------------------------------------------


def repair(
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    version: str,
    *,
    notify: Notify = ignore,
) -> Repaired:
    """Let history agree with one file again, where that is proved to be right.

    An edit of comments and blanks is right when the tokens agree; a real one when the files of
    all that is applied, as they are now, build what the target is. A renamed file is right by its
    checksum: named by its old or its new version, its row takes the new one. Else nothing is
    changed: the result says what differs, HistoryError why there is nothing that could be proved.
    """
    with session_under_lock(target, settings, purpose="repair", notify=notify) as (session, lock):
        case = _Case(
            connection=session,
            lock=lock,
            target=target,
            folder=folder,
            settings=settings,
            notify=notify,
        )
        plan = plan_for(session, folder, settings)
        entry = require_entry(plan, version)
        if entry.state is State.APPLIED:
            return Repaired(version=version, repair=Repair.NOTHING, now=version)
        if entry.state in (State.EDITED, State.UNKNOWN_RULE) and entry.applied and entry.migration:
            return _repair_edited(case, plan, entry, entry.applied, entry.migration)
        return _repair_renamed(case, entry, *_renamed(plan, entry))


def _renamed(plan: Plan, entry: Entry) -> tuple[Applied, Migration]:
    """Give the row of a renamed file and the file; raise unless there is one of each."""
    if entry.applied:
        pairs = [(entry.applied, file) for file in files_of_renamed(plan, entry.applied)]
    elif entry.migration:
        migration = entry.migration
        pairs = [(row, migration) for row in rows_of_renamed(plan, migration)]
    else:
        pairs = []
    if not pairs:
        raise HistoryError(
            f"{entry.version} is {entry.state}: only what was edited or renamed can be repaired; "
            "nothing was changed",
            hint=advice(entry),
        )
    if len(pairs) > 1:
        others = [row.version if entry.migration else file.version for row, file in pairs]
        raise HistoryError(
            f"{entry.version} has the checksum of {' and '.join(others)}; nothing was changed",
            hint=f"say which it is: invoke history.repair {others[0]}",
        )
    return pairs[0]


def _repair_renamed(case: _Case, entry: Entry, row: Applied, migration: Migration) -> Repaired:
    accept([migration])
    case.write(
        f"renaming {row.version}",
        lambda: record_name(case.connection, case.settings, row, migration),
    )
    return Repaired(version=entry.version, repair=Repair.RENAMED, now=migration.version)


def _repair_edited(
    case: _Case, plan: Plan, entry: Entry, row: Applied, migration: Migration
) -> Repaired:
    doing = f"repairing {entry.version}"
    [file] = accept([migration])
    done = Repaired(version=entry.version, repair=Repair.COSMETIC, now=entry.version)

    def write() -> None:
        record_edit(case.connection, case.settings, row, file)

    if is_cosmetic(entry):
        case.write(doing, write)
        return done
    proof = case.write_if_proved(doing, accept(_applied_files(plan, doing)), write)
    proved = proof.outcome is Outcome.OK
    verdict = Repair.SAME_SCHEMA if proved else Repair.ANOTHER_SCHEMA
    return replace(done, repair=verdict, proof=proof)


def _applied_files(plan: Plan, doing: str) -> list[Migration]:
    """Give the files of all that is applied; raise when one is not there to be built."""
    lacking = [entry for entry in plan.entries if entry.applied and not entry.migration]
    if lacking:
        raise HistoryError(
            f"{doing}: {plural(len(lacking), 'applied version')} without a file; nothing can be "
            "proved, nothing was changed",
            findings=tuple(
                Finding(
                    rule="history-without-file",
                    message=f"it is {entry.state}",
                    file=f"{entry.version}.sql",
                    hint=advice(entry),
                )
                for entry in lacking
            ),
            hint="begin with those",
        )
    return [entry.migration for entry in plan.entries if entry.applied and entry.migration]


# --- baseline ---------------------------------------------------------------------------------


def baseline(
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    version: str,
    *,
    notify: Notify = ignore,
) -> Baselined:
    """Record every file up to a version that history lacks, when they build what the target is.

    An older table of migrations becomes our history in the same transaction, and its rows are
    kept. Where the target is not what the files build, nothing is changed and the result says what
    differs. Raises HistoryError when the version is unknown, or history and files disagree.
    """
    with session_under_lock(target, settings, purpose="baseline", notify=notify) as (session, lock):
        case = _Case(
            connection=session,
            lock=lock,
            target=target,
            folder=folder,
            settings=settings,
            notify=notify,
        )
        older = history.is_older(session, settings)
        rows = _rows_of_older(case) if older else history.read_history(session, settings)
        begun = frozenset[str]() if older else history.versions_half_done(session, settings)
        plan = _require_agreement(case, rows, begun)
        require_entry(plan, version)
        files = accept(_up_to(plan, version))
        known = {row.version for row in rows}
        lacking = tuple(file for file in files if file.migration.version not in known)
        if not lacking and not older:
            return Baselined(version=version)
        proof = case.write_if_proved(
            "taking the database over", files, lambda: _take_over(case, files, lacking, older=older)
        )
        proved = proof.outcome is Outcome.OK
        return Baselined(
            version=version,
            recorded=tuple(file.migration.version for file in lacking) if proved else (),
            kept=tuple(row.version for row in rows) if proved and older else (),
            proof=proof,
        )


def _rows_of_older(case: _Case) -> tuple[Applied, ...]:
    """Give the rows of an older table as those of ours, each with the checksum of its file."""
    rows = read_older(case.connection, case.settings)
    files = files_of(rows, case.folder.migrations).values()
    return tuple(Applied(version=file.version, checksum=file.checksum) for file in files)


def _require_agreement(case: _Case, rows: Sequence[Applied], begun: frozenset[str]) -> Plan:
    """Plan; raise when what is applied disagrees with its file: nothing could be proved of it.

    A file that stands before one that is applied is no problem: it is claimed to be there too.
    """
    migrations = case.folder.migrations
    late = frozenset(migration.version for migration in migrations)
    plan = make_plan(migrations, rows, out_of_order=late, half_done=begun)
    if plan.problems:
        raise HistoryError(
            f"files and history disagree in {plural(len(plan.problems), 'place')}; "
            "nothing was changed",
            findings=plan.problems,
            hint="begin with those",
        )
    return plan


def _up_to(plan: Plan, version: str) -> list[Migration]:
    """Give what history will call applied: what it holds, and every file up to a version."""
    return [
        entry.migration
        for entry in plan.entries
        if entry.migration and (entry.applied or entry.version <= version)
    ]


def _take_over(
    case: _Case, files: Sequence[Accepted], lacking: Sequence[Accepted], *, older: bool
) -> None:
    """Write the rows that are lacking; what history holds then must be what is proved."""
    if older:
        convert(case.connection, case.settings, case.folder.migrations, tokens_of(files))
    record_unrun(case.connection, case.settings, lacking, how=How.BASELINE)
    recorded = {row.version for row in history.read_history(case.connection, case.settings)}
    if recorded != {file.migration.version for file in files}:
        raise changed_meanwhile(case.settings)
