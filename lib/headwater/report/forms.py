"""From values to lines for people, and to dicts for JSON. Pure: nothing is printed here.

The field names of the dicts are a promise (docs/json.md): they are only ever added to.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeAlias

from headwater.errors import FilesError, HeadwaterError
from headwater.model import (
    Entry,
    Finding,
    Migrated,
    MigrationResult,
    Plan,
    Preview,
    Schema,
    Severity,
    State,
    Target,
    around,
    caret,
    plural,
)

if TYPE_CHECKING:
    from headwater.outcomes import Answered, Rebuilt, RolledBack, SeedResult, TableLock, Tried

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)  # by position: a text with its style, on every second line here
class Line:
    """One line for people, with the style of the whole line (a rich style, or nothing)."""

    text: str
    style: str = ""
    hang: int | None = None
    """Where it goes on in a terminal that it is too wide for; None: SQL and such, left as it is."""


def folded(line: Line, width: int) -> list[str]:
    """Give a line in pieces that fit a width, between words: a name stays whole, to be copied."""
    if line.hang is None or len(line.text) <= width:
        return [line.text]
    return textwrap.wrap(
        line.text,
        width,
        subsequent_indent=" " * line.hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


_SEVERITY_STYLE = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_STATE_STYLE = {State.APPLIED: "green", State.PENDING: "cyan"}


def _indented(text: str, by: str = "    ") -> Iterator[str]:
    return (f"{by}{line}" for line in text.splitlines())


# --- errors and findings ----------------------------------------------------------------------


def error_lines(error: HeadwaterError) -> Iterator[Line]:
    """Draw an error: the sentence, the facts, every finding, what to type next."""
    yield Line(f"error: {error.message}", "bold red")
    yield from (Line(text) for text in _indented(error.detail, "  "))
    if isinstance(error, FilesError):
        for finding in error.findings:
            yield from finding_lines(finding)
    if error.hint:
        yield Line(f"hint: {error.hint}", "cyan")


# Where what belongs to a finding stands, below its head.
_INNER = 6


def finding_lines(finding: Finding) -> Iterator[Line]:
    """Draw a finding: place, severity and rule, what was measured, the line with a caret, advice.

    Last comes the page that tells of its rule.
    """
    place = place_of(finding)
    head = f"{finding.severity.value} {finding.rule}: {finding.message}"
    style = _SEVERITY_STYLE[finding.severity]
    yield Line(f"  {place}: {head}" if place else f"  {head}", style, hang=_INNER)
    yield from _below(finding.measured)
    for line in finding.source.split("\n") if finding.source else ():
        text, column = around(line, finding.column)
        yield Line(f"      {text}")
        if finding.column and "\n" not in finding.source:
            yield Line(f"      {caret(text, column)}")
    yield from _below(_advice(finding), "cyan" if finding.page else "dim")
    yield from _below(f"see {finding.page}" if finding.page else "", "dim")


def _advice(finding: Finding) -> str:
    """Give what to do; the safe form that a rule knows is told as that."""
    is_command = finding.hint.startswith(("invoke ", "git "))
    return f"instead: {finding.hint}" if finding.page and not is_command else finding.hint


def _below(text: str, style: str = "") -> Iterator[Line]:
    return (Line(each, style, hang=_INNER) for each in _indented(text, " " * _INNER))


def place_of(finding: Finding) -> str:
    """Give `file:line:column`, as far as they are known."""
    parts = [finding.file, finding.line or "", (finding.column or "") if finding.line else ""]
    return ":".join(str(part) for part in parts if part)


def error_json(error: HeadwaterError) -> Json:
    """Give an error as JSON."""
    form: Json = {
        "code": error.code,
        "message": error.message,
        "detail": error.detail,
        "hint": error.hint,
    }
    if isinstance(error, FilesError):
        form["findings"] = [finding_json(finding) for finding in error.findings]
    return form


def finding_json(finding: Finding) -> Json:
    """Give a finding as JSON."""
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "file": finding.file,
        "line": finding.line or None,
        "column": finding.column or None,
        "message": finding.message,
        "hint": finding.hint,
        "end_line": finding.end_line or None,
        "end_column": finding.end_column or None,
        "why": finding.why or None,
        "measured": finding.measured or None,
        "page": finding.page or None,
        "layer": finding.layer.value,
        "relation": finding.relation or None,
    }


def target_json(target: Target) -> Json:
    """Give a target as JSON, without its password."""
    return {
        "host": target.host,
        "port": target.port,
        "database": target.database,
        "user": target.user,
        "source": target.source,
    }


# --- migrate, reset, status -------------------------------------------------------------------


def migrated_lines(outcome: Migrated) -> Iterator[Line]:
    """Tell what migrate did, or would do."""
    if outcome.previews:
        yield from _preview_lines(outcome.previews)
    elif outcome.results:
        yield Line(
            f"applied {plural(len(outcome.results), 'migration')} "
            f"in {_total_ms(outcome.results)} ms",
            "green",
        )
    else:
        yield _nothing_to_do(outcome.plan)


def _nothing_to_do(plan: Plan) -> Line:
    return Line(f"nothing to do: {plural(len(plan.applied), 'migration')} applied", "green")


def _preview_lines(previews: Sequence[Preview]) -> Iterator[Line]:
    """List what would be applied, then show each file, with what goes before and behind it."""
    yield Line(f"would apply {plural(len(previews), 'migration')}:")
    yield from (Line(f"  {preview.version}") for preview in previews)
    for preview in previews:
        how = "" if preview.transactional else ", without a transaction, statement by statement"
        yield Line("")
        yield Line(f"-- {preview.version}.sql{how}", "bold")
        yield from (Line(text) for text in preview.sql.splitlines())
        if preview.post_conditions:
            yield Line(f"-- {preview.version}.verify.sql: must hold then", "bold")
            yield from (Line(f"--   {sentence}") for sentence in preview.post_conditions)


# What only a dry run measures; the fields of a task are always there.
_NOT_MEASURED: Json = {"traces": [], "weights": None, "notes": []}


def migrated_json(outcome: Migrated) -> Json:
    """Give what migrate did as JSON."""
    return {
        "dry_run": outcome.dry_run,
        "trial": False,
        "plan": [step.version for step in outcome.plan.steps],
        "files": [_preview_json(preview) for preview in outcome.previews],
        "migrations": [result_json(result) for result in outcome.results],
        "locks": [],
        **_NOT_MEASURED,
    }


def _preview_json(preview: Preview) -> Json:
    return {
        "version": preview.version,
        "transaction": preview.transactional,
        "sql": preview.sql,
        "post_conditions": list(preview.post_conditions),
    }


def tried_lines(outcome: Tried) -> Iterator[Line]:
    """Tell what a trial ran, how long each file took, and whom it would have kept waiting."""
    if not outcome.results:
        yield _nothing_to_do(outcome.plan)
        return
    width = max(len(result.version) for result in outcome.results)
    for result in outcome.results:
        yield Line(f"  {result.version:<{width}}  {result.duration_ms} ms")
    for lock in outcome.locks:
        yield Line(f"  held {lock}", "yellow")
    yield Line(
        f"tried {plural(len(outcome.results), 'migration')} in {_total_ms(outcome.results)} ms "
        "and rolled back; nothing was kept",
        "green",
    )


def tried_json(outcome: Tried) -> Json:
    """Give what a trial did as JSON, in the fields of migrate."""
    return {
        "dry_run": False,
        "trial": True,
        "plan": [step.version for step in outcome.plan.steps],
        "files": [],
        "migrations": [result_json(result) for result in outcome.results],
        "locks": [lock_json(lock) for lock in outcome.locks],
        **_NOT_MEASURED,
    }


def lock_json(lock: TableLock) -> Json:
    """Give a lock as JSON."""
    return {"relation": lock.relation, "mode": lock.mode.value, "blocks": lock.mode.blocks}


def answered_lines(outcome: Answered) -> Iterator[Line]:
    """Say that the server answers."""
    after = f" after {outcome.waited_ms / 1000:.1f} s" if outcome.waited_ms >= 1_000 else ""
    yield Line(f"PostgreSQL {outcome.server_version} answers{after}", "green")


def answered_json(outcome: Answered) -> Json:
    """Give what answered as JSON."""
    return {"server_version": outcome.server_version, "waited_ms": outcome.waited_ms}


def rebuilt_lines(outcome: Rebuilt) -> Iterator[Line]:
    """Tell what reset did."""
    how = "in one transaction" if outcome.atomic else "file by file, after a rehearsal"
    yield Line(
        f"rebuilt {', '.join(outcome.schemas)} from {plural(len(outcome.results), 'migration')} "
        f"in {_total_ms(outcome.results)} ms, {how}",
        "green",
    )
    yield from seeded_lines(outcome.seeds)


def seeded_lines(seeds: Sequence[SeedResult]) -> Iterator[Line]:
    """Tell of the seeds that were run, if any were."""
    if seeds:
        took = sum(seed.duration_ms for seed in seeds)
        yield Line(f"seeded from {plural(len(seeds), 'file')} in {took} ms", "green")


def seed_json(seed: SeedResult) -> Json:
    """Give one seed that was run as JSON."""
    return {"name": seed.name, "duration_ms": seed.duration_ms, "rows": seed.rows}


def rebuilt_json(outcome: Rebuilt) -> Json:
    """Give what reset did as JSON."""
    return {
        "schemas": list(outcome.schemas),
        "atomic": outcome.atomic,
        "migrations": [result_json(result) for result in outcome.results],
        "seeds": [seed_json(seed) for seed in outcome.seeds],
    }


def rolled_back_lines(outcome: RolledBack) -> Iterator[Line]:
    """Tell what rollback undid."""
    if not outcome.results:
        yield Line("nothing to undo", "green")
        return
    yield Line(
        f"undid {plural(len(outcome.results), 'migration')} in {_total_ms(outcome.results)} ms",
        "green",
    )


def rolled_back_json(outcome: RolledBack) -> Json:
    """Give what rollback undid as JSON, in that order."""
    return {"migrations": [result_json(result) for result in outcome.results]}


def result_json(result: MigrationResult) -> Json:
    """Give one applied migration as JSON."""
    return {
        "version": result.version,
        "duration_ms": result.duration_ms,
        "statements": result.statements,
    }


def _total_ms(results: Sequence[MigrationResult]) -> int:
    return sum(result.duration_ms for result in results)


def status_lines(plan: Plan) -> Iterator[Line]:
    """Draw a line for each version, then every problem, then the sum."""
    width = max((len(entry.version) for entry in plan.entries), default=0)
    state_width = max((len(entry.state) for entry in plan.entries), default=0)
    for entry in plan.entries:
        state = f"{entry.state.value:<{state_width}}"
        text = f"{entry.version:<{width}}  {state}  {_applied_text(entry)}".rstrip()
        yield Line(text, _STATE_STYLE.get(entry.state, "red"))
    for problem in plan.problems:
        yield from finding_lines(problem)
    for note in plan.notes:
        yield Line(note, "bold yellow" if note.startswith("WARNING") else "dim")
    if plan.schema is Schema.UNKNOWN and plan.applied:
        yield Line("no fingerprint to compare the schema with: invoke verify looks", "dim")
    if plan.schema is Schema.TOUCHED:
        yield Line("the schema was touched by hand since: invoke verify says where", "yellow")
    problems = f", {plural(len(plan.problems), 'problem')}" if plan.problems else ""
    yield Line(f"{len(plan.applied)} applied, {len(plan.steps)} pending{problems}", "bold")


def _applied_text(entry: Entry) -> str:
    row = entry.applied
    if row is None or row.applied_at is None:
        return ""
    duration = f"  {row.duration_ms} ms" if row.duration_ms is not None else ""
    late = "  out of order" if row.out_of_order else ""
    how = "" if row.how == "run" else f"  {row.how}"
    when = f"{row.applied_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{when}{duration}  {row.applied_by}{how}{late}"


def status_json(plan: Plan) -> Json:
    """Give every version with its state as JSON."""
    return {
        "migrations": [_entry_json(entry) for entry in plan.entries],
        "findings": [finding_json(problem) for problem in plan.problems],
        "notes": list(plan.notes),
        "schema": plan.schema.value,
    }


def _entry_json(entry: Entry) -> Json:
    row = entry.applied
    return {
        "version": entry.version,
        "state": entry.state.value,
        "applied_at": row.applied_at.isoformat() if row and row.applied_at else None,
        "applied_by": row.applied_by if row else None,
        "duration_ms": row.duration_ms if row else None,
        "out_of_order": row.out_of_order if row else None,
        "how": row.how if row else None,
    }


Forms: TypeAlias = tuple[Callable[[Any], Iterator[Line]], Callable[[Any], Json]]

# Which form belongs to which outcome, by the name of its class: a run loads the one that it gives.
# (Those of verify and lint are in `judged`.)
FORMS: dict[str, Forms] = {
    "Answered": (answered_lines, answered_json),
    "Migrated": (migrated_lines, migrated_json),
    "Plan": (status_lines, status_json),
    "Rebuilt": (rebuilt_lines, rebuilt_json),
    "RolledBack": (rolled_back_lines, rolled_back_json),
    "Tried": (tried_lines, tried_json),
}
