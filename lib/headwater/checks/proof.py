"""Verify: prove that the files and the database are the same thing.

Eight lines, always all of them: files; rebuild from zero in a scratch database; post-conditions;
undo; checks; seeds; drift; lint of what is pending. On the target it only SELECTs.

The scratch database is built in two stages: what history says is applied, which is compared with
the target, and then what is pending, so that pending work is never drift and is still proven.
Where the target was built in another order than that of the names, a second one is built in that
order, and must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import psycopg

from headwater.checks.building import Built, Workshop, workshop
from headwater.checks.drafting import draft
from headwater.checks.reading import Grammar, read_grammar
from headwater.checks.rebuilding import (
    NoPlace,
    drift_between,
    failure_line,
    place_for,
    prepare_to_ask,
    snapshot_of,
)
from headwater.checks.reseeding import line_without_running, prove_seeds, seeds_to_prove
from headwater.checks.scratch import ScratchServer
from headwater.errors import HeadwaterError, TargetError, Unreachable
from headwater.files.accepted import Sentence
from headwater.model import (
    Finding,
    MigrationFolder,
    Notify,
    Plan,
    Said,
    SeedFolder,
    Severity,
    Target,
    ignore,
    plural,
)
from headwater.postgres.connect import Connection, connect
from headwater.postgres.databases import Locale, locale_of
from headwater.postgres.encryption import warn
from headwater.postgres.plan import order_of_history
from headwater.postgres.pooler import require_own_session
from headwater.postgres.run import plan_for
from headwater.postgres.sentences import ask
from headwater.postgres.translate import translated
from headwater.schema.diff import compare
from headwater.schema.snapshot import Snapshot
from headwater.settings import Settings
from headwater.verdicts import CheckLine, Draft, Linted, Outcome, Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What was read from the folder: its line, and what the other lines need of it."""

    line: CheckLine
    grammar: Grammar


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """What the scratch databases have shown, as far as it came."""

    line: CheckLine
    drift: CheckLine
    broken: tuple[Finding, ...] | None = None
    """The checks that do not hold of the rebuilt schema; None when they were not asked."""
    both: tuple[Snapshot, Snapshot] | None = None
    """The two that were compared: what the files build, and the target."""
    broken_there: tuple[Finding, ...] | None = None
    """The same of the target."""
    order: tuple[Finding, ...] = ()
    """That the order of history gives another schema than the order of names."""
    undoing: tuple[Finding, ...] = ()
    """What is wrong with down files that were tried."""
    seeds: CheckLine | None = None
    """None when they were not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What is to be proved: a target that is connected, and the files that should build it."""

    connection: Connection
    target: Target
    folder: MigrationFolder
    settings: Settings
    plan: Plan
    files: Files
    seeds: SeedFolder
    notify: Notify


def verify(
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    *,
    drafts: bool = False,
    notify: Notify = ignore,
) -> Verification:
    """Look at everything, whatever is found on the way, and report it line by line.

    `drafts` asks for the statements that would keep the drift, as a migration.

    Raises only when the target cannot be reached (or no more, or only through sessions that others
    share), or its catalogue or history cannot be read.
    """
    with connect(target, purpose="verify") as connection:
        require_own_session(connection, target)
        warn(connection, target, notify)
        prepare_to_ask(connection, settings)
        plan = plan_for(connection, folder, settings)
        case = _Case(
            connection=connection,
            target=target,
            folder=folder,
            settings=settings,
            plan=plan,
            files=look_at_files(folder, plan),
            seeds=seeds_to_prove(settings),
            notify=notify,
        )
        rebuild = _rebuild(case)
        return Verification(
            lines=(
                _with_findings(case.files.line, rebuild.order),
                rebuild.line,
                _post_conditions(case, rebuild),
                _undoing(case, rebuild),
                _checks(case, rebuild),
                rebuild.seeds or line_without_running(case.seeds),
                rebuild.drift,
                lint_line(folder, plan),
            ),
            draft=_draft(case, rebuild) if drafts else None,
        )


def _draft(case: _Case, rebuild: Rebuild) -> Draft:
    """Draft what would keep the drift, if there is any."""
    if not rebuild.both:
        return Draft(statements=(), cannot=())
    try:
        with translated("drafting a migration"):
            return draft(rebuild.drift.changes, *rebuild.both, case.connection)
    except HeadwaterError:
        # A report has all its lines, whatever becomes of the target meanwhile.
        return Draft(statements=(), cannot=rebuild.drift.changes)


# --- files and lint ---------------------------------------------------------------------------


def look_at_files(folder: MigrationFolder, plan: Plan) -> Files:
    """Check names, bytes and grammar of every file, and that history agrees with them."""
    grammar = read_grammar(folder)
    findings = [*folder.findings, *plan.problems, *grammar.findings]
    applied = len(plan.applied)
    total, pending = len(folder.migrations), len(plan.steps)
    line = CheckLine(
        name="files",
        outcome=Outcome.OK,
        summary=f"{total} migrations, {applied} applied, {pending} pending",
    )
    return Files(line=_with_findings(line, findings), grammar=grammar)


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
    if not pending:
        return CheckLine(name="lint", outcome=Outcome.OK, summary="nothing is pending")
    # Only now: it brings its rules and the parser. What is to be measured is left to lint itself.
    from headwater.checks.linting import lint_without_claims

    linted = lint_without_claims(replace(folder, findings=()), pending)
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
    found = (
        f"{plural(count, 'finding')} in {linted.files} pending; invoke lint measures their locks"
    )
    return "; ".join([found, *linted.notes])


# --- what needs a scratch database ------------------------------------------------------------


def _rebuild(case: _Case) -> Rebuild:
    """Choose a place, and build there, unless the files must not run; say why when they do not."""
    if case.files.line.outcome is not Outcome.OK:
        return _not_built("the files have problems", Outcome.SKIPPED)
    place = place_for(case.connection, case.target, case.settings, case.files.grammar, case.notify)
    if isinstance(place, NoPlace):
        given_up = _not_built(f"not possible: {place.why}", Outcome.IMPOSSIBLE)
        return replace(given_up, line=replace(given_up.line, findings=place.findings))
    case.notify(Said(message="building a scratch database from the files"))
    locale = locale_of(case.connection)
    # The target is looked at while the other one is built; nobody else uses its connection then.
    with ThreadPoolExecutor(1) as reader:
        actual = reader.submit(snapshot_of, case.connection, case.settings)
        asked = reader.submit(_broken_there, case)
        try:
            return replace(_built(case, place, locale, actual), broken_there=asked.result())
        except BaseException:
            # Whoever presses Ctrl-C does not want to wait for what the target is still asked.
            asked.cancel()
            both: list[Future[Any]] = [actual, asked]
            while wait(both, timeout=0).not_done:
                # Once more, where it came between two statements, or did not get through.
                with suppress(psycopg.Error):
                    case.connection.cancel_safe(timeout=_CANCEL_S)
                wait(both, timeout=_PAUSE_S)
            raise


_CANCEL_S = 5.0
_PAUSE_S = 0.5


def _not_built(why: str, outcome: Outcome) -> Rebuild:
    """Say for both lines why there was no rebuild."""
    return Rebuild(
        line=CheckLine(name="rebuild", outcome=outcome, summary=why),
        drift=CheckLine(name="drift", outcome=outcome, summary=why),
    )


def _built(case: _Case, place: ScratchServer, locale: Locale, actual: Future[Snapshot]) -> Rebuild:
    """Build what is applied, compare it with the target, then build on to what is pending.

    `actual` is the snapshot of the target, as soon as it is read.

    An error becomes the line of the rebuild, and what was shown before it stays: a report has all
    its lines. Only a target that is gone, or cannot be read, ends it.
    """
    found = _not_built("the rebuild did not come that far", Outcome.SKIPPED)
    try:
        with workshop(place, case.folder, case.settings, locale) as shop:
            for stage in _stages(case, shop, actual, found):
                found = stage
    except HeadwaterError as error:
        gone = isinstance(error, Unreachable) and case.connection.closed
        if gone or (actual.done() and actual.exception() is error):
            raise
        return replace(found, line=failure_line(error))
    return found


def _stages(
    case: _Case, shop: Workshop, actual: Future[Snapshot], found: Rebuild
) -> Iterator[Rebuild]:
    """Build in two stages; give what has been shown after each step."""
    applied = [row.version for row in case.plan.applied]
    pending = [migration.version for migration in case.plan.steps]
    with shop.build(applied) as built:
        expected = built.snapshot()
        drift = drift_between(
            expected, actual.result(), scratch=lambda: built.target, settings=case.settings
        )
        both = (expected, actual.result())
        found = replace(found, drift=drift, both=both, undoing=built.undoing)
        yield found
        found = replace(found, order=_order(case, shop, expected))
        yield found
        if not pending:
            yield from _finished(case, shop, built, found)
    if pending:
        with shop.build([*applied, *pending]) as whole:
            found = replace(found, undoing=whole.undoing or found.undoing)
            yield from _finished(case, shop, whole, found)


def _finished(case: _Case, shop: Workshop, built: Built, found: Rebuild) -> Iterator[Rebuild]:
    """Ask the checks of the finished schema, then run the seeds on a copy of it."""
    found = _checked(case, built, found)
    yield found
    yield replace(found, seeds=prove_seeds(shop, built, case.seeds, case.settings, case.notify))


def _checked(case: _Case, built: Built, found: Rebuild) -> Rebuild:
    """Ask the checks of the finished schema, unless it is a template of which they held."""
    sentences = case.files.grammar.sentences
    if not sentences or built.is_known_to_hold(sentences):
        return replace(found, broken=(), line=_success(case))
    with connect(built.target, purpose="verify") as connection:
        prepare_to_ask(connection, case.settings)
        broken = _broken(connection, sentences)
    if not broken:
        built.note_held(sentences)
    return replace(found, broken=broken, line=_success(case))


def _success(case: _Case) -> CheckLine:
    count = len(case.folder.migrations)
    return CheckLine(
        name="rebuild",
        outcome=Outcome.OK,
        summary=f"{count} migrations build a database from nothing",
    )


# --- the order of history ---------------------------------------------------------------------

_SHOWN = 3


def _order(case: _Case, shop: Workshop, by_name: Snapshot) -> tuple[Finding, ...]:
    """Build in the order of history, where it is another one, and say if that gives another schema.

    `by_name` is what the order of names gives.
    """
    history = order_of_history(case.plan.applied)
    late = next((after for before, after in pairwise(history) if after < before), None)
    if late is None:
        return ()
    case.notify(Said(message="building another one in the order of history"))
    try:
        with shop.build(history) as built:
            by_history = built.snapshot()
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
    count = case.files.grammar.post_conditions
    return CheckLine(
        name="post-conditions",
        outcome=Outcome.OK if held else Outcome.SKIPPED,
        summary=f"{count} hold" if held else "they run within the rebuild",
    )


def _undoing(case: _Case, rebuild: Rebuild) -> CheckLine:
    """Tell of the down files: each was tried within the rebuild, now or when that was kept."""
    count = sum(migration.down is not None for migration in case.folder.migrations)
    line = CheckLine(name="undo", outcome=Outcome.OK, summary="there are no down files")
    if rebuild.undoing:
        wrong = len({finding.file for finding in rebuild.undoing})
        summary = f"{wrong} of {plural(count, 'down file')} not undoing what it should"
        return replace(line, outcome=Outcome.FOUND, summary=summary, findings=rebuild.undoing)
    if not count:
        return line
    if rebuild.line.outcome is not Outcome.OK:
        return replace(line, outcome=Outcome.SKIPPED, summary="they are tried within the rebuild")
    tried = plural(count, "down file")
    return replace(line, summary=f"{tried} proved: up, down, up again is the same")


def _checks(case: _Case, rebuild: Rebuild) -> CheckLine:
    """Ask the checks: of the rebuilt schema, and of the target unless something is pending."""
    sentences = case.files.grammar.sentences
    if not sentences:
        return _no_checks(case.folder)
    asked = dict[str, tuple[Finding, ...]]()
    if rebuild.broken is not None:
        asked["the rebuilt schema"] = rebuild.broken
    there = _broken_there(case) if rebuild.broken_there is None else rebuild.broken_there
    if there is not None:
        asked["the target"] = there
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


def _broken_there(case: _Case) -> tuple[Finding, ...] | None:
    """Ask the checks of the target; None while files are pending."""
    if case.plan.steps:
        return None
    with translated("asking the checks"):
        return _broken(case.connection, case.files.grammar.sentences)


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
