"""The forms of lint: what was traced, every finding, and the sum; lines, and a dict for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwater.model import Finding, Layer, Severity, plural
from headwater.report.changes import change_json, describe
from headwater.report.forms import Json, Line, finding_json, finding_lines
from headwater.report.traced import QUIET, is_quiet, traced_json, traced_lines, weights_json
from headwater.verdicts import Fixed, Linted


def linted_lines(outcome: Linted) -> Iterator[Line]:
    """Draw what the files lock and do, every finding, then the sum."""
    yield from _trace_lines(outcome)
    for finding in outcome.findings:
        yield from finding_lines(finding)
    yield from (Line(f"note: {note}", "yellow", hang=2) for note in outcome.notes)
    if any(finding.layer is not Layer.TEXT for finding in outcome.findings) and outcome.traces:
        yield Line(_NEXT, "dim", hang=2)
    yield Line(summed(outcome), "bold" if outcome.findings else "green", hang=2)


_NEXT = "invoke lint --fix writes safe steps, --live asks the rows; or allow RULE because REASON"


def _trace_lines(outcome: Linted) -> Iterator[Line]:
    """Draw the plan of each file that touches something, and count the others."""
    quiet = [traced for traced in outcome.traces if is_quiet(traced)]
    for traced in outcome.traces:
        if traced not in quiet:
            yield from traced_lines(traced, outcome.weights)
    if quiet:
        yield Line(f"traced {plural(len(quiet), 'file')} more: {QUIET}", "dim", hang=2)
    if outcome.traces:
        yield Line("")


def summed(outcome: Linted) -> str:
    """Give the sum in one sentence: `3 findings in 2 files: 1 error, 2 warnings`."""
    files = plural(outcome.files, "file")
    if not outcome.findings:
        return f"nothing found in {files}" if outcome.files else "nothing to lint: no file counts"
    found = plural(len(outcome.findings), "finding")
    return f"{found} in {files}: {by_severity(outcome.findings)}"


def by_severity(findings: Sequence[Finding]) -> str:
    """Count findings by severity, the worst first: `1 error, 2 warnings, 3 info`."""
    counts = ((each, sum(f.severity is each for f in findings)) for each in reversed(Severity))
    return ", ".join(
        f"{count} info" if each is Severity.INFO else plural(count, each.value)
        for each, count in counts
        if count
    )


def linted_json(outcome: Linted) -> Json:
    """Give the findings, the traces and the weights of what they touch as JSON."""
    weights = outcome.weights
    return {
        "files": outcome.files,
        "findings": [finding_json(finding) for finding in outcome.findings],
        "notes": list(outcome.notes),
        "traces": [traced_json(traced) for traced in outcome.traces],
        "weights": weights_json(weights, _relations(outcome)) if weights else None,
    }


def _relations(outcome: Linted) -> set[str]:
    """Give the relations that a finding or an effect is about."""
    found = {finding.relation for finding in outcome.findings}
    return found | {
        effect.relation
        for traced in outcome.traces
        for statement in traced.statements
        for effect in statement.effects
    }


# --- fix --------------------------------------------------------------------------------------


def fixed_lines(outcome: Fixed) -> Iterator[Line]:
    """Draw what was written, what was left as it is and why, or why nothing was written."""
    for finding in outcome.fixes.left:
        yield from finding_lines(finding)
    if not outcome.fixes.changes:
        yield Line(
            "nothing that can be done in steps; invoke lint says what else there is", "green"
        )
        return
    if outcome.proof and not outcome.written:
        yield Line(f"nothing was written: {outcome.proof.summary}", "bold red")
        yield from (Line(f"    {describe(change)}") for change in outcome.proof.changes)
        for finding in outcome.proof.findings:
            yield from finding_lines(finding)
        return
    yield from (Line(f"  rewritten  {file.name}") for file in outcome.fixes.replaced)
    yield from (Line(f"  new        {file.name}") for file in outcome.fixes.added)
    yield Line("two rebuilds give the same schema; read the files", "green")
    yield Line(
        "then: invoke lint --live, and invoke migration.lock where there is such a file", "cyan"
    )


def fixed_json(outcome: Fixed) -> Json:
    """Give what `lint --fix` did as JSON."""
    proof = outcome.proof
    return {
        "written": outcome.written,
        "replaced": [file.name for file in outcome.fixes.replaced],
        "added": [file.name for file in outcome.fixes.added],
        "findings": [
            finding_json(finding)
            for finding in (*outcome.fixes.left, *(proof.findings if proof else ()))
        ],
        "changes": [change_json(change) for change in (proof.changes if proof else ())],
    }
