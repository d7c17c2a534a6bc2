"""From what a trace has measured to findings.

What a rule about the text claims is confirmed or refuted; what no such rule has seen is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from headwater.checks.rules import BY_ID
from headwater.checks.rules.own import DROP_CASCADE, VALIDATE_IN_SAME_FILE
from headwater.checks.rules.rule import Claim, Rule
from headwater.checks.rules.traced import (
    BUILD_UNDER_LOCK,
    CASCADE,
    HIDDEN_DDL,
    LOCK_ELSEWHERE,
    NOT_TRACED,
    REWRITE,
    SCAN_UNDER_LOCK,
    WORK_AFTER_LOCK,
)
from headwater.checks.tracing import Found
from headwater.files.accepted import Accepted
from headwater.files.grammar import Statement
from headwater.files.text import without_secrets
from headwater.model import Finding, Layer, Severity
from headwater.outcomes import LockMode
from headwater.verdicts import Effect, Traced, TracedStatement

_SHOWN = 3
_READ_ONLY = "materialized view"


def blocks(effect: Effect) -> bool:
    """Say whether others cannot write meanwhile, or not even read.

    Nobody writes a materialized view but who refreshes it.
    """
    if effect.kind == _READ_ONLY:
        return effect.lock is LockMode.ACCESS_EXCLUSIVE
    return effect.lock is not None and effect.lock.blocks_writes


def in_words(effect: Effect) -> str:
    """Say what a statement does to a relation: `rewrites app.t (default); blocks reads and writes`.

    Indexes that are built because the table is written anew are a part of that.
    """
    what = "locks"
    if effect.rewrite:
        what = "rewrites"
    elif effect.builds:
        what = f"builds {_listed([name.rpartition('.')[2] for name in effect.builds])} on"
    elif effect.scans:
        what = "reads all of"
    reason = f" ({effect.rewrite})" if effect.rewrite else ""
    lock = f": {effect.lock}, {effect.lock.blocks}" if effect.lock else ""
    return f"{what} {effect.relation}{reason}{lock}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + ", …" * (len(names) > _SHOWN)


# --- what the text claims ---------------------------------------------------------------------


def judged(
    findings: Iterable[Finding], file: Accepted, traced: Traced, *, version: int
) -> list[Finding]:
    """Give the findings about the text that the trace does not refute, with what it measured.

    What makes no claim, and what is about a statement that was not run, stays as it is. The advice
    becomes that for the server's major version.
    """
    kept = list[Finding]()
    for finding in findings:
        rule, ran = BY_ID.get(finding.rule), _statement_of(finding, file, traced)
        if rule is None or ran is None or ran.skipped:
            kept.append(finding)
        elif rule is DROP_CASCADE:
            kept.append(replace(finding, measured=_with_it(ran)))
        elif rule.claim is None or not ran.locks_known:
            kept.append(finding)
        elif effect := confirming(rule.claim, ran, at=(finding.line, finding.column)):
            kept.append(replace(finding, measured=in_words(effect), relation=effect.relation))
    return [_for_version(finding, version) for finding in kept]


def _for_version(finding: Finding, version: int) -> Finding:
    rule = BY_ID.get(finding.rule)
    return replace(finding, hint=rule.instead_on(version)) if rule and rule.safe else finding


def confirming(claim: Claim, ran: TracedStatement, *, at: tuple[int, int]) -> Effect | None:
    """Give the effect that shows a claim to be right; None when what is there did no such thing."""
    effects = filter(blocks, (_with_held(effect, ran) for effect in ran.effects_at(at)))
    for effect in sorted(effects, key=lambda each: not each.target):
        if _shows(claim, effect):
            return effect
    return None


def _with_held(effect: Effect, ran: TracedStatement) -> Effect:
    """Give what is done to a relation under the lock that the file has on it by then.

    VALIDATE lets others write, but not behind an ADD CONSTRAINT in the same transaction.
    """
    held = next((lock.mode for lock in ran.held if lock.relation == effect.relation), None)
    if held is None or blocks(effect) or not effect.works:
        return effect
    return replace(effect, lock=held)


def _shows(claim: Claim, effect: Effect) -> bool:
    match claim:
        case Claim.REWRITE:
            return bool(effect.rewrite)
        case Claim.INDEX_BUILD:
            return bool(effect.builds or effect.rewrite)
        case Claim.SCAN:
            return effect.works
        case Claim.LOCK:
            return True


def _statement_of(finding: Finding, file: Accepted, traced: Traced) -> TracedStatement | None:
    for statement, ran in zip(file.script.statements, traced.statements, strict=False):
        if _is_at(finding, statement, file):
            return ran
    return None


# --- what no rule about the text has seen -----------------------------------------------------


def told(
    file: Accepted, traced: Traced, seen: Collection[Finding], *, version: int
) -> Iterator[Finding]:
    """Give a finding for everything that was measured and that `seen` does not tell already.

    `version` is the major version of the server that the files are for.
    """
    for statement, ran in zip(file.script.statements, traced.statements, strict=False):
        here = [f for f in seen if _is_at(f, statement, file)]
        teller = _Teller(file, statement, version)
        if ran.skipped:
            yield teller.finding(NOT_TRACED, message=ran.skipped)
        if not any(f.measured and f.severity is not Severity.INFO for f in here):
            yield from _work(ran, teller)
        yield from _elsewhere(ran, teller, {f.relation for f in here})
        rules = {f.rule for f in here}
        if VALIDATE_IN_SAME_FILE.id not in rules:
            yield from _held(ran, teller)
        yield from _other(ran, teller, rules)


def of_the_catalogue(
    file: Accepted, facts: Iterable[Found], seen: Collection[Finding], *, version: int
) -> Iterator[Finding]:
    """Give a finding for each fact of the catalogue, at the statement that made it so.

    What a rule of the same name, or one that says the same, has `seen` in that statement's text is
    not told again.
    """
    for fact, number in facts:
        statement = file.script.statements[number - 1]
        same = {fact.rule, _SAID_BY_THE_TEXT.get(fact.rule)}
        if any(f.rule in same and _is_at(f, statement, file) for f in seen):
            continue
        finding = _Teller(file, statement, version).finding(
            BY_ID[fact.rule],
            message=fact.words,
            relation=fact.relation,
            severity=fact.severity,
        )
        yield replace(finding, layer=Layer.CATALOGUE)


_SAID_BY_THE_TEXT = {
    "disabled-trigger": "disable-trigger",
    "granted-to-public": "grant-to-public",
    "integer-key": "integer-primary-key",
}


def _is_at(finding: Finding, statement: Statement, file: Accepted) -> bool:
    begin = (statement.line, statement.column)
    return begin <= (finding.line, finding.column) < file.script.places.of(statement.end)


class _Teller:
    """Makes the findings about one statement."""

    def __init__(self, file: Accepted, statement: Statement, version: int) -> None:
        self.file, self.statement, self.version = file, statement, version

    def finding(
        self,
        rule: Rule,
        *,
        message: str = "",
        measured: str = "",
        relation: str = "",
        severity: Severity | None = None,
    ) -> Finding:
        """Give a finding of a rule at the statement."""
        places = self.file.script.places
        return rule.finding(
            file=f"{self.file.migration.version}.sql",
            line=self.statement.line,
            column=self.statement.column,
            end=places.of(self.statement.start + len(self.statement.text)),
            source=without_secrets(places.line(self.statement.line)),
            message=message,
            measured=measured,
            relation=relation,
            version=self.version,
            severity=severity,
        )


def _work(ran: TracedStatement, teller: _Teller) -> Iterator[Finding]:
    """Tell of the work that is done while others wait for that table."""
    for effect in filter(blocks, ran.effects):
        if rule := _rule_of(effect):
            yield teller.finding(rule, measured=in_words(effect), relation=effect.relation)


def _rule_of(effect: Effect) -> Rule | None:
    """Give the rule that tells of the heaviest work: a rewrite builds and reads as well."""
    if effect.rewrite:
        return REWRITE
    if effect.builds:
        return BUILD_UNDER_LOCK
    return SCAN_UNDER_LOCK if effect.scans else None


def _elsewhere(ran: TracedStatement, teller: _Teller, known: Collection[str]) -> Iterator[Finding]:
    """Tell of tables that are blocked, and that the statement is not about, by their locks.

    Where reads wait as well it is a warning; else information.
    """
    by_lock = dict[LockMode, list[str]]()
    for effect in filter(blocks, ran.effects):
        if not (effect.target or effect.kind == "sequence" or effect.relation in known):
            by_lock.setdefault(effect.lock or LockMode.SHARE, []).append(effect.relation)
    for mode, relations in by_lock.items():
        alone = mode is LockMode.ACCESS_EXCLUSIVE
        yield teller.finding(
            LOCK_ELSEWHERE,
            measured=f"locks {_listed(relations)}: {mode}, {mode.blocks}",
            relation=relations[0],
            severity=LOCK_ELSEWHERE.severity if alone else Severity.INFO,
        )


def _held(ran: TracedStatement, teller: _Teller) -> Iterator[Finding]:
    """Tell of work that is done while what ran before it keeps others waiting."""
    doing = next((effect for effect in ran.effects if effect.works), None)
    own = {effect.relation: effect.lock for effect in ran.effects if blocks(effect)}
    held = [lock for lock in ran.held if not _is_as_strong(own.get(lock.relation), lock.mode)]
    if doing is None or not held:
        return
    waiting = _listed([f"{lock.relation} ({lock.mode.blocks})" for lock in held])
    yield teller.finding(
        WORK_AFTER_LOCK,
        measured=f"{in_words(doing).partition(':')[0]}, while still locked: {waiting}",
        relation=doing.relation,
    )


def _is_as_strong(own: LockMode | None, held: LockMode) -> bool:
    return own is not None and own.rank >= held.rank


def _with_it(ran: TracedStatement) -> str:
    gone = [f"{each.kind} {each.identity}" for each in ran.gone if each.cascade]
    return f"also dropped: {', '.join(gone)}" if gone else ""


def _other(ran: TracedStatement, teller: _Teller, known: Collection[str]) -> Iterator[Finding]:
    """Tell of cascades, of what a block does, and of settings that stay."""
    if DROP_CASCADE.id not in known and (with_it := _with_it(ran)):
        yield teller.finding(CASCADE, measured=with_it)
    yield from _hidden(ran, teller, known)
    rule = BY_ID.get("setting-left")
    # (Of a SET the text is judged, which knows whether a RESET stands below.)
    judged = rule is None or rule.id in known or teller.statement.kind == "variable_set_stmt"
    if ran.settings and rule and not judged:
        yield teller.finding(rule, measured=f"left changed: {', '.join(ran.settings)}")


# What may do anything: its text need not say what it drops.
_OPAQUE = ("do_stmt", "call_stmt", "select_stmt")
_OF_ROWS = ("table", "table column", "schema", "foreign table")


def _hidden(ran: TracedStatement, teller: _Teller, known: Collection[str]) -> Iterator[Finding]:
    """Tell of what a block or a function does; louder where rows go that no rule has seen go."""
    dropped = [each for each in ran.gone if not each.cascade and teller.statement.kind in _OPAQUE]
    does = [*ran.hidden, *(f"DROP {each.kind.upper()} {each.identity}" for each in dropped)]
    seen = any(rule.startswith("ban-drop-") for rule in known)
    loud = not seen and any(each.kind in _OF_ROWS for each in dropped)
    if does:
        yield teller.finding(
            HIDDEN_DDL,
            measured=f"it runs: {', '.join(does)}",
            severity=Severity.WARNING if loud else None,
        )
