"""The forms of what was judged, by lint and verify: lines for people, dicts for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headwater.model import Migrated, plural
from headwater.report.changes import describe
from headwater.report.forms import (
    Forms,
    Json,
    Line,
    finding_json,
    finding_lines,
    migrated_json,
    migrated_lines,
)
from headwater.verdicts import Change, CheckLine, Linted, Outcome, Verification

_OUTCOME_STYLE = {
    Outcome.OK: "green",
    Outcome.FOUND: "red",
    Outcome.FAILED: "red",
    Outcome.SKIPPED: "dim",
    Outcome.IMPOSSIBLE: "yellow",
}


def linted_lines(outcome: Linted) -> Iterator[Line]:
    """Draw every finding, then the sum."""
    for finding in outcome.findings:
        yield from finding_lines(finding)
    yield from (Line(f"note: {note}", "yellow") for note in outcome.notes)
    files = plural(outcome.files, "file")
    if outcome.findings:
        yield Line(f"{plural(len(outcome.findings), 'finding')} in {files}", "bold")
    else:
        yield Line(f"nothing found in {files}", "green")


def linted_json(outcome: Linted) -> Json:
    """Give the findings as JSON."""
    return {
        "files": outcome.files,
        "findings": [finding_json(finding) for finding in outcome.findings],
        "notes": list(outcome.notes),
    }


def verification_lines(outcome: Verification) -> Iterator[Line]:
    """Draw the report: a line for each proof, with what was found below it, and what to do."""
    for line in outcome.lines:
        text = f"{line.outcome.value:<13}{line.name:<16}{line.summary}"
        yield Line(text, _OUTCOME_STYLE[line.outcome])
        for finding in line.findings:
            yield from finding_lines(finding)
        yield from (Line(f"    {describe(change)}") for change in line.changes)
    if any(line.changes for line in outcome.lines):
        yield Line(
            "hint: to keep it: invoke migration.new NAME; to undo it: invoke reset",
            "cyan",
        )
    if outcome.exit_code == 0:
        yield Line("files and database are the same thing", "bold green")


def verification_json(outcome: Verification) -> Json:
    """Give the report as JSON; `changes` and `findings` are those of all its lines."""
    return {
        "lines": [_check_json(line) for line in outcome.lines],
        "changes": [change_json(change) for line in outcome.lines for change in line.changes],
        "findings": [finding_json(finding) for line in outcome.lines for finding in line.findings],
    }


def _check_json(line: CheckLine) -> Json:
    return {"name": line.name, "outcome": line.outcome.value, "summary": line.summary}


def change_json(change: Change) -> Json:
    """Give one difference as JSON."""
    return {
        "object": change.object,
        "change": change.change.value,
        "attribute": change.attribute,
        "before": change.before,
        "after": change.after,
    }


# --- onboard ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Onboarded:
    """What onboard did, one part after the other."""

    migrated: Migrated
    verification: Verification
    dotenv: bool


def onboarded_lines(outcome: Onboarded) -> Iterator[Line]:
    """Tell what was made, what was proved, and what to do next."""
    if outcome.dotenv:
        yield Line("wrote .env from .env.example (every line is a comment: nothing to fill in)")
    yield from migrated_lines(outcome.migrated)
    yield from verification_lines(outcome.verification)
    if outcome.verification.exit_code == 0:
        yield Line("next:  invoke db.psql              look around")
        yield Line("       invoke migration.new NAME   change the schema")
        yield Line("       invoke test                 run the tests")


def onboarded_json(outcome: Onboarded) -> Json:
    """Give what onboard did as JSON."""
    migrated = migrated_json(outcome.migrated)
    return {
        "dotenv_written": outcome.dotenv,
        **{name: migrated[name] for name in ("dry_run", "plan", "migrations")},
        **verification_json(outcome.verification),
    }


FORMS: dict[type, Forms] = {
    Linted: (linted_lines, linted_json),
    Onboarded: (onboarded_lines, onboarded_json),
    Verification: (verification_lines, verification_json),
}
