"""The forms of what was judged, by verify, blame and repairs of history: lines, dicts for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headwater.model import Migrated, plural
from headwater.outcomes import SeedResult
from headwater.report.changes import change_json, describe, diff_lines, how
from headwater.report.forms import (
    Forms,
    Json,
    Line,
    finding_json,
    finding_lines,
    migrated_json,
    migrated_lines,
    seed_json,
    seeded_lines,
)
from headwater.report.linted import fixed_json, fixed_lines, linted_json, linted_lines
from headwater.report.traced import traced_json, traced_lines, weights_json
from headwater.verdicts import (
    Baselined,
    Bisected,
    Blamed,
    Change,
    ChangeKind,
    CheckLine,
    Draft,
    Fixed,
    Foreseen,
    Happened,
    Linted,
    Marked,
    Moment,
    Outcome,
    Repair,
    Repaired,
    Verification,
)

_OUTCOME_STYLE = {
    Outcome.OK: "green",
    Outcome.FOUND: "red",
    Outcome.FAILED: "red",
    Outcome.SKIPPED: "dim",
    Outcome.IMPOSSIBLE: "yellow",
}


def verification_lines(outcome: Verification) -> Iterator[Line]:
    """Draw the report: a line for each proof, with what was found below it, and what to do."""
    for line in outcome.lines:
        yield from _check_lines(line)
    if outcome.draft is None and any(line.changes for line in outcome.lines):
        yield Line(
            "hint: to keep it: invoke migration.new NAME; a draft: invoke verify --sql", "cyan"
        )
        yield Line("      to undo it: invoke reset", "cyan")
    if outcome.draft is not None:
        yield from _draft_lines(outcome.draft)
    if outcome.exit_code == 0:
        yield Line("files and database are the same thing", "bold green")


def _draft_lines(draft: Draft) -> Iterator[Line]:
    """Draw a draft as SQL, with what it does not hold as comments."""
    if draft.statements or draft.cannot:
        yield Line("-- A draft that would keep it. Read it, and think of locks and rows.", "bold")
        yield Line("-- Then: invoke migration.new NAME, and invoke history.mark VERSION", "bold")
    for statement in draft.statements:
        yield from (Line(text) for text in statement.splitlines())
    for change in draft.cannot:
        # On one line, whatever a name holds: what stood on the next one would be SQL.
        sentence = " ".join(describe(change).split())
        yield Line(f"-- to be written by hand: {sentence}", "yellow")


def _check_lines(line: CheckLine) -> Iterator[Line]:
    text = f"{line.outcome.value:<13}{line.name:<16}{line.summary}"
    yield Line(text, _OUTCOME_STYLE[line.outcome])
    for finding in line.findings:
        yield from finding_lines(finding)
    for change in line.changes:
        yield Line(f"    {describe(change)}")
        yield from (Line(f"        {each.text}", each.style) for each in diff_lines(change))


def verification_json(outcome: Verification) -> Json:
    """Give the report as JSON; `changes` and `findings` are those of all its lines."""
    return {
        "lines": [_check_json(line) for line in outcome.lines],
        "changes": [change_json(change) for line in outcome.lines for change in line.changes],
        "findings": [finding_json(finding) for line in outcome.lines for finding in line.findings],
        "draft": _draft_json(outcome.draft) if outcome.draft is not None else None,
    }


def _draft_json(draft: Draft) -> Json:
    return {
        "statements": list(draft.statements),
        "cannot": [change_json(change) for change in draft.cannot],
    }


def _check_json(line: CheckLine) -> Json:
    return {"name": line.name, "outcome": line.outcome.value, "summary": line.summary}


# --- a dry run --------------------------------------------------------------------------------


def foreseen_lines(outcome: Foreseen) -> Iterator[Line]:
    """Draw what a dry run would apply, and below it what each statement locks and does."""
    yield from migrated_lines(outcome.migrated)
    if outcome.traces:
        yield Line("")
        yield Line("measured on a scratch database:", "bold")
    for traced in outcome.traces:
        yield from traced_lines(traced, outcome.weights)
    yield from (Line(f"note: {note}", "yellow") for note in outcome.notes)


def foreseen_json(outcome: Foreseen) -> Json:
    """Give a dry run as JSON: the fields of migrate, and what was measured."""
    touched = {
        effect.relation
        for traced in outcome.traces
        for statement in traced.statements
        for effect in statement.effects
    }
    return {
        **migrated_json(outcome.migrated),
        "traces": [traced_json(traced) for traced in outcome.traces],
        "weights": weights_json(outcome.weights, touched) if outcome.weights else None,
        "notes": list(outcome.notes),
    }


# --- blame and bisect -------------------------------------------------------------------------

_HAPPENED_STYLE = {
    Happened.CREATED: "green",
    Happened.CHANGED: "yellow",
    Happened.DROPPED: "red",
}


def blamed_lines(outcome: Blamed) -> Iterator[Line]:
    """Draw each object with its moments below it, in the order in which it first came."""
    by_object = dict[str, list[Moment]]()
    for moment in outcome.moments:
        by_object.setdefault(moment.object, []).append(moment)
    width = max((len(moment.version) for moment in outcome.moments), default=0)
    for identity, moments in by_object.items():
        yield Line(identity, "bold")
        for moment in moments:
            head = f"  {moment.happened.value}  {moment.version:<{width}}"
            yield Line(f"{head}  {_how(moment)}".rstrip(), _HAPPENED_STYLE[moment.happened])
            yield from (Line(f"      {line.text}", line.style) for line in _diff_of(moment))
    if not outcome.moments:
        yield Line(f"no migration makes anything of the name {outcome.pattern!r}", "red")
        if outcome.close:
            yield Line(f"hint: there are {', '.join(outcome.close)}", "cyan")
        yield Line("      what is in the database alone: invoke verify tells it", "cyan")


def _how(moment: Moment) -> str:
    if moment.happened is Happened.CREATED:
        return f"with {moment.within}" if moment.within else ""
    return "" if moment.happened is Happened.DROPPED else how(_change_of(moment))


def _diff_of(moment: Moment) -> Iterator[Line]:
    return diff_lines(_change_of(moment)) if moment.happened is Happened.CHANGED else iter(())


def _change_of(moment: Moment) -> Change:
    return Change(
        object=moment.object,
        change=ChangeKind.CHANGED,
        attribute=moment.attribute,
        before=moment.before,
        after=moment.after,
    )


def blamed_json(outcome: Blamed) -> Json:
    """Give every moment as JSON, in order."""
    return {
        "name": outcome.pattern,
        "moments": [
            {
                "version": moment.version,
                "object": moment.object,
                "happened": moment.happened.value,
                "within": moment.within or None,
                "attribute": moment.attribute or None,
                "before": moment.before,
                "after": moment.after,
            }
            for moment in outcome.moments
        ],
    }


def bisected_lines(outcome: Bisected) -> Iterator[Line]:
    """Draw where the answer changed, then the migration after which it is false."""
    previous = None
    for asked in outcome.asked:
        if previous is None or asked.answer != previous:
            where = f"after {asked.version}" if asked.version else "before the first migration"
            style = {True: "green", False: "red", None: "dim"}[asked.answer.value]
            yield Line(f"  {where}: {asked.answer.words}", style)
        previous = asked.answer
    culprit = outcome.culprit
    if culprit is not None:
        yield Line(f"{culprit.version} is the first after which it is no longer true", "bold red")
    elif outcome.was_true:
        yield Line("once true, it stays so to the last migration", "green")
    else:
        never = all(asked.answer.value is None for asked in outcome.asked)
        said = "it never gave true or false" if never else "it is true after no migration"
        yield Line(said, "bold red")


def bisected_json(outcome: Bisected) -> Json:
    """Give every answer as JSON, and the first version after which it is false."""
    culprit = outcome.culprit
    return {
        "query": outcome.query,
        "version": culprit.version if culprit else None,
        "answers": [
            {"version": asked.version, "value": asked.answer.value, "words": asked.answer.words}
            for asked in outcome.asked
        ],
    }


# --- history ----------------------------------------------------------------------------------

_REPAIRED = {
    Repair.NOTHING: "{version}: file and history agree; there is nothing to repair",
    Repair.COSMETIC: "{version}: comments and blanks alone were edited; the checksum is recorded",
    Repair.RENAMED: "the row of the renamed file is {now} now",
    Repair.SAME_SCHEMA: "{version}: the files as they are now build this database; "
    "the checksum is recorded",
    Repair.ANOTHER_SCHEMA: "{version}: the files as they are now do not build this database; "
    "nothing was changed",
}


def repaired_lines(outcome: Repaired) -> Iterator[Line]:
    """Tell what was proved, and what history says now."""
    if outcome.proof:
        yield from _check_lines(outcome.proof)
    sentence = _REPAIRED[outcome.repair].format(version=outcome.version, now=outcome.now)
    yield Line(sentence, "bold red" if outcome.exit_code else "green")
    if outcome.exit_code:
        yield Line(
            "hint: restore the file as it was applied, and write the change as a new migration",
            "cyan",
        )


def repaired_json(outcome: Repaired) -> Json:
    """Give what a repair did as JSON."""
    return {
        "version": outcome.version,
        "now": outcome.now,
        "repair": outcome.repair.value,
        "changed": outcome.changed,
        **_proof_json(outcome.proof),
    }


def _proof_json(proof: CheckLine | None) -> Json:
    lines = [] if proof is None else [proof]
    return {
        "lines": [_check_json(line) for line in lines],
        "changes": [change_json(change) for line in lines for change in line.changes],
        "findings": [finding_json(finding) for line in lines for finding in line.findings],
    }


def marked_lines(outcome: Marked) -> Iterator[Line]:
    """Tell what was recorded."""
    yield Line(f"{outcome.version} is recorded as applied; it was {outcome.was}, and did not run")


def marked_json(outcome: Marked) -> Json:
    """Give what was marked as JSON."""
    return {"version": outcome.version, "was": outcome.was.value}


def baselined_lines(outcome: Baselined) -> Iterator[Line]:
    """Tell what was proved, and what was recorded."""
    if outcome.proof is None:
        yield Line(f"nothing to do: history holds every file up to {outcome.version}", "green")
        return
    yield from _check_lines(outcome.proof)
    if outcome.exit_code:
        yield Line(
            f"the files up to {outcome.version} do not build this database; nothing was recorded",
            "bold red",
        )
        yield Line(
            "hint: name the last file that it was built from, or bring it to what the files build",
            "cyan",
        )
        return
    if outcome.kept:
        yield Line(f"kept {plural(len(outcome.kept), 'row')} of the older table", "green")
    yield Line(f"recorded {plural(len(outcome.recorded), 'migration')} as baseline", "green")


def baselined_json(outcome: Baselined) -> Json:
    """Give what a baseline did as JSON."""
    return {
        "version": outcome.version,
        "recorded": list(outcome.recorded),
        "kept": list(outcome.kept),
        **_proof_json(outcome.proof),
    }


# --- onboard ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Onboarded:
    """What onboard did, one part after the other."""

    migrated: Migrated
    verification: Verification
    dotenv: bool
    seeds: tuple[SeedResult, ...] = ()


def onboarded_lines(outcome: Onboarded) -> Iterator[Line]:
    """Tell what was made, what was proved, and what to do next."""
    if outcome.dotenv:
        yield Line("wrote .env from .env.example (every line is a comment: nothing to fill in)")
    yield from migrated_lines(outcome.migrated)
    yield from seeded_lines(outcome.seeds)
    yield from verification_lines(outcome.verification)
    if outcome.verification.exit_code == 0:
        yield Line("next:  invoke db.psql              look around")
        yield Line("       invoke migration.new NAME   change the schema")
        yield Line("       invoke test                 run the tests")


def onboarded_json(outcome: Onboarded) -> Json:
    """Give what onboard did as JSON."""
    migrated = migrated_json(outcome.migrated)
    verified = verification_json(outcome.verification)
    return {
        "dotenv_written": outcome.dotenv,
        **{name: migrated[name] for name in ("dry_run", "plan", "migrations")},
        "seeds": [seed_json(seed) for seed in outcome.seeds],
        **{name: verified[name] for name in ("lines", "changes", "findings")},
    }


FORMS: dict[type, Forms] = {
    Baselined: (baselined_lines, baselined_json),
    Bisected: (bisected_lines, bisected_json),
    Blamed: (blamed_lines, blamed_json),
    Fixed: (fixed_lines, fixed_json),
    Foreseen: (foreseen_lines, foreseen_json),
    Linted: (linted_lines, linted_json),
    Marked: (marked_lines, marked_json),
    Onboarded: (onboarded_lines, onboarded_json),
    Repaired: (repaired_lines, repaired_json),
    Verification: (verification_lines, verification_json),
}
