"""Verify: prove that the files and the database are the same thing.

Six lines, always all of them: files; rebuild from zero in a scratch database; post-conditions;
checks; drift; lint of what is pending. On the target it only SELECTs.

The scratch database is built in two stages: what history says is applied, which is compared with
the target, and then what is pending, so that pending work is never drift and is still proven.
Where the target was built in another order than that of the names, a second one is built in that
order, and must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

from headwater.checks.linting import lint
from headwater.checks.rebuilding import (
    NoPlace,
    apply_files,
    built_snapshot,
    drift_between,
    failure_line,
    place_for,
    snapshot_of,
)
from headwater.checks.scratch import ScratchServer
from headwater.errors import HeadwaterError, TargetError, Unreachable
from headwater.files.accepted import Accepted
from headwater.files.refusals import check_all
from headwater.files.sentences import Sentence, read_sentences
from headwater.model import (
    Applied,
    Finding,
    MigrationFolder,
    Notify,
    Plan,
    Said,
    Severity,
    Target,
    ignore,
)
from headwater.postgres.connect import Connection, connect, pin
from headwater.postgres.databases import scratch_database
from headwater.postgres.encryption import warn
from headwater.postgres.pooler import require_own_session
from headwater.postgres.run import plan_for
from headwater.postgres.sentences import ask
from headwater.postgres.translate import translated
from headwater.schema.diff import compare
from headwater.schema.snapshot import Snapshot
from headwater.settings import Settings
from headwater.verdicts import CheckLine, Linted, Outcome, Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What was read from the folder: its line, and what the other lines need of it."""

    line: CheckLine
    accepted: tuple[Accepted, ...]
    sentences: tuple[Sentence, ...]
    """Those of the checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """What the scratch databases have shown, as far as it came."""

    line: CheckLine
    drift: CheckLine
    broken: tuple[Finding, ...] | None = None
    """The checks that do not hold of the rebuilt schema; None when they were not asked."""
    order: tuple[Finding, ...] = ()
    """That the order of history gives another schema than the order of names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What is to be proved: a target that is connected, and the files that should build it."""

    connection: Connection
    target: Target
    folder: MigrationFolder
    settings: Settings
    plan: Plan
    files: Files
    notify: Notify


def verify(
    target: Target, folder: MigrationFolder, settings: Settings, *, notify: Notify = ignore
) -> Verification:
    """Look at everything, whatever is found on the way, and report it line by line.

    Raises only when the target cannot be reached (or no more, or only through sessions that others
    share), or its catalogue or history cannot be read.
    """
    with connect(target, purpose="verify") as connection:
        require_own_session(connection, target)
        warn(connection, target, notify)
        _prepare(connection, settings)
        plan = plan_for(connection, folder, settings)
        case = _Case(
            connection=connection,
            target=target,
            folder=folder,
            settings=settings,
            plan=plan,
            files=look_at_files(folder, plan),
            notify=notify,
        )
        rebuild = _rebuild(case)
        return Verification(
            lines=(
                _with_findings(case.files.line, rebuild.order),
                rebuild.line,
                _post_conditions(case, rebuild),
                _checks(case, rebuild),
                rebuild.drift,
                lint_line(folder, plan),
            )
        )


def _prepare(connection: Connection, settings: Settings) -> None:
    """Pin a session, and let nothing write in it: a check may call a function that does."""
    with translated("preparing the session"):
        pin(connection, lock_timeout_ms=settings.lock_timeout_ms)
        connection.execute("SET default_transaction_read_only = on")


# --- files and lint ---------------------------------------------------------------------------


def look_at_files(folder: MigrationFolder, plan: Plan) -> Files:
    """Check names, bytes and grammar of every file, and that history agrees with them."""
    accepted, refused = check_all(folder.migrations)
    findings = [*folder.findings, *plan.problems, *refused]
    checks = [read_sentences(file.text, f"checks/{file.path.name}") for file in folder.checks]
    for read in checks:
        findings += read.findings
    applied = sum(entry.applied is not None for entry in plan.entries)
    total, pending = len(folder.migrations), len(plan.steps)
    line = CheckLine(
        name="files",
        outcome=Outcome.OK,
        summary=f"{total} migrations, {applied} applied, {pending} pending",
    )
    return Files(
        line=_with_findings(line, findings),
        accepted=accepted,
        sentences=tuple(sentence for read in checks for sentence in read.sentences),
    )


def _with_findings(line: CheckLine, findings: Sequence[Finding]) -> CheckLine:
    """Add findings to the line of the files, which is as it was when there are none."""
    if not findings:
        return line
    together = (*line.findings, *findings)
    return replace(
        line,
        outcome=Outcome.FOUND,
        summary=f"{len(together)} problem{'s' * (len(together) > 1)}",
        findings=together,
    )


def lint_line(folder: MigrationFolder, plan: Plan) -> CheckLine:
    """Lint what is pending; what is applied already cannot be undone by a finding."""
    pending = [migration.version for migration in plan.steps]
    # The folder's own findings stand in the line of the files.
    linted = lint(replace(folder, findings=()), pending)
    return CheckLine(
        name="lint",
        outcome=Outcome.FOUND if linted.exit_code(Severity.ERROR) else Outcome.OK,
        summary=_lint_summary(linted),
        findings=linted.findings,
    )


def _lint_summary(linted: Linted) -> str:
    if not linted.files:
        return "nothing is pending"
    count = len(linted.findings)
    found = f"{count} finding{'s' * (count != 1)} in {linted.files} pending"
    return "; ".join([found, *linted.notes])


# --- what needs a scratch database ------------------------------------------------------------


def _rebuild(case: _Case) -> Rebuild:
    """Choose a place, and build there, unless the files must not run; say why when they do not."""
    if case.files.line.outcome is not Outcome.OK:
        return _not_built("the files have problems", Outcome.SKIPPED)
    place = place_for(case.connection, case.target, case.settings, case.files.accepted, case.notify)
    if isinstance(place, NoPlace):
        given_up = _not_built(f"not possible: {place.why}", Outcome.IMPOSSIBLE)
        return replace(given_up, line=replace(given_up.line, findings=place.findings))
    actual = snapshot_of(case.connection, case.settings)
    case.notify(Said(message="building a scratch database from the files"))
    return _built(case, place, actual)


def _not_built(why: str, outcome: Outcome) -> Rebuild:
    """Say for both lines why there was no rebuild."""
    return Rebuild(
        line=CheckLine(name="rebuild", outcome=outcome, summary=why),
        drift=CheckLine(name="drift", outcome=outcome, summary=why),
    )


def _built(case: _Case, place: ScratchServer, actual: Snapshot) -> Rebuild:
    """Build what is applied, compare it with the target, then build on to what is pending.

    An error becomes the line of the rebuild, and what was shown before it stays: a report has all
    its lines. Only a target that is gone ends it.
    """
    found = _not_built("the rebuild did not come that far", Outcome.SKIPPED)
    try:
        with (
            translated("building from nothing"),
            scratch_database(place.target, like=case.connection) as scratch,
        ):
            expected = _build_applied(case, scratch)
            drift = drift_between(expected, actual, scratch=scratch, settings=case.settings)
            found = replace(found, drift=drift, order=_order(case, place, expected))
            found = replace(found, broken=_build_pending(case, scratch), line=_success(case))
    except HeadwaterError as error:
        if isinstance(error, Unreachable) and case.connection.closed:
            raise
        return replace(found, line=failure_line(error))
    return found


def _success(case: _Case) -> CheckLine:
    count = len(case.folder.migrations)
    return CheckLine(
        name="rebuild",
        outcome=Outcome.OK,
        summary=f"{count} migrations build a database from nothing",
    )


def _build_applied(case: _Case, scratch: Target) -> Snapshot:
    """Build what history says is applied, in the order of names, and read what that gives."""
    applied = [entry.version for entry in case.plan.entries if entry.applied]
    return built_snapshot(case.folder, case.settings, scratch, applied)


def _build_pending(case: _Case, scratch: Target) -> tuple[Finding, ...]:
    """Build what is left, and give the checks that do not hold of the finished schema."""
    everything = [migration.version for migration in case.folder.migrations]
    apply_files(case.folder, case.settings, scratch, everything)
    with connect(scratch, purpose="verify") as built:
        _prepare(built, case.settings)
        return _broken(built, case.files.sentences)


# --- the order of history ---------------------------------------------------------------------

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
_SHOWN = 3


def order_of_history(rows: Sequence[Applied]) -> tuple[str, ...]:
    """Give the versions in the order in which they were applied; rows of one moment as they are."""
    by_time = sorted(rows, key=lambda row: row.applied_at or _BEFORE_ALL)
    return tuple(row.version for row in by_time)


def _order(case: _Case, place: ScratchServer, by_name: Snapshot) -> tuple[Finding, ...]:
    """Build in the order of history, where it is another one, and say if that gives another schema.

    `by_name` is what the order of names gives.
    """
    rows = [entry.applied for entry in case.plan.entries if entry.applied]
    history = order_of_history(rows)
    late = next((after for before, after in pairwise(history) if after < before), None)
    if late is None:
        return ()
    case.notify(Said(message="building another one in the order of history"))
    try:
        with scratch_database(place.target, like=case.connection) as scratch:
            for last in _last_of_runs(history):
                apply_files(case.folder, case.settings, scratch, history[: last + 1])
            by_history = built_snapshot(case.folder, case.settings, scratch, history)
    except HeadwaterError as error:
        if isinstance(error, TargetError):
            raise
        what = f"the files do not build in the order in which they were applied: {error.message}"
        return (_order_finding(late, what),)
    changes = compare(by_name, by_history, schemas=case.settings.schemas)
    if not changes:
        return ()
    objects = list(dict.fromkeys(change.object for change in changes))
    shown = ", ".join(objects[:_SHOWN]) + ", …" * (len(objects) > _SHOWN)
    what = f"the order of names and the order of history build different schemas: {shown}"
    return (_order_finding(late, what),)


def _last_of_runs(history: Sequence[str]) -> Iterator[int]:
    """Give the index of the last version of each run that ascends: one `migrate` builds a run."""
    for index, (version, following) in enumerate(pairwise(history)):
        if following < version:
            yield index
    yield len(history) - 1


def _order_finding(late: str, what: str) -> Finding:
    return Finding(
        rule="order",
        message=what,
        file=f"{late}.sql",
        hint="write a migration that gives the same schema after either order",
    )


# --- post-conditions and checks ---------------------------------------------------------------


def _post_conditions(case: _Case, rebuild: Rebuild) -> CheckLine:
    """Tell of the post-conditions: they ran inside the rebuild, each right after its file."""
    if all(migration.verify is None for migration in case.folder.migrations):
        return CheckLine(name="post-conditions", outcome=Outcome.OK, summary="there are none")
    held = rebuild.line.outcome is Outcome.OK
    count = sum(len(file.sentences) for file in case.files.accepted)
    return CheckLine(
        name="post-conditions",
        outcome=Outcome.OK if held else Outcome.SKIPPED,
        summary=f"{count} hold" if held else "they run within the rebuild",
    )


def _checks(case: _Case, rebuild: Rebuild) -> CheckLine:
    """Ask the checks: of the rebuilt schema, and of the target unless something is pending."""
    sentences = case.files.sentences
    if not sentences:
        return _no_checks(case.folder)
    asked = dict[str, tuple[Finding, ...]]()
    if rebuild.broken is not None:
        asked["the rebuilt schema"] = rebuild.broken
    if not case.plan.steps:
        with translated("asking the checks"):
            asked["the target"] = _broken(case.connection, sentences)
    if not asked:
        return CheckLine(
            name="checks",
            outcome=Outcome.SKIPPED,
            summary="they hold of the finished schema, and files are pending",
        )
    findings = tuple(finding for where in asked for finding in _told(where, asked[where]))
    if findings:
        return CheckLine(
            name="checks",
            outcome=Outcome.FOUND,
            summary=f"{len(findings)} of {len(sentences) * len(asked)} broken",
            findings=findings,
        )
    summary = f"{len(sentences)} hold of {' and '.join(asked)}"
    return CheckLine(name="checks", outcome=Outcome.OK, summary=summary)


def _no_checks(folder: MigrationFolder) -> CheckLine:
    if folder.checks:
        return CheckLine(
            name="checks", outcome=Outcome.SKIPPED, summary="no sentence of them can be read"
        )
    return CheckLine(name="checks", outcome=Outcome.OK, summary="there are none")


def _broken(connection: Connection, sentences: Sequence[Sentence]) -> tuple[Finding, ...]:
    """Ask every sentence in a read-only transaction of its own; give those that do not hold.

    The transaction is rolled back: a sentence cannot even switch the session to writing for the
    next one. One that ends the session is told, and those behind it cannot be asked.
    """
    found = list[Finding]()
    for sentence in sentences:
        if connection.closed:
            answer = ask(connection, sentence)
        else:
            with connection.transaction(force_rollback=True):
                answer = ask(connection, sentence)
        if answer is not None:
            found.append(answer)
    return tuple(found)


def _told(where: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    preposition = "on" if where == "the target" else "in"
    # The sentence and its place say enough; the query may be long.
    return (
        replace(finding, message=f"{preposition} {where}: {finding.message}", source="")
        for finding in findings
    )
