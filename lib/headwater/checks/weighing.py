"""The live weight of findings: what a rewrite, a scan or an index means on the real table.

A finding about work that grows with a table says how much there is, and for how long others wait:
on a small table it is for information, on a large one an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headwater import amounts
from headwater.checks.rules import BY_ID
from headwater.checks.rules.rule import Claim
from headwater.checks.rules.traced import WORK_AFTER_LOCK
from headwater.model import Finding, Layer, Severity
from headwater.outcomes import LockMode
from headwater.verdicts import Effect, Traced, TracedStatement, Weight, Weights

# Longer than this nobody waits for an answer of an application: what blocks is an error.
LONG_S = 60.0

# From here on a lock that blocks is felt at once, however short it is: one write a second, or as
# many as that makes in a day where nobody knows since when they were counted.
MANY_A_SECOND = 1.0
MANY_WRITES = 86_400

# What a rule about the text claims, where no trace has measured it.
_CLAIMED = {
    Claim.REWRITE: Effect(
        relation="", kind="table", lock=LockMode.ACCESS_EXCLUSIVE, rewrite="as its text says"
    ),
    Claim.SCAN: Effect(relation="", kind="table", lock=LockMode.ACCESS_EXCLUSIVE, scans=1),
    Claim.INDEX_BUILD: Effect(relation="", kind="table", lock=LockMode.SHARE, builds=("index",)),
    Claim.LOCK: Effect(relation="", kind="table", lock=LockMode.ACCESS_EXCLUSIVE),
}


def weigh(
    findings: Sequence[Finding], traces: Sequence[Traced], weights: Weights
) -> tuple[Finding, ...]:
    """Give every finding its weight: what it measures on the real table, and its severity.

    Only findings about work or a lock on a relation change, and among them those about work alone
    change their severity. Where the table's size is not known they say so and stay as they are.
    """
    return tuple(_weighed(finding, traces, weights) for finding in findings)


def _weighed(finding: Finding, traces: Sequence[Traced], weights: Weights) -> Finding:
    effect = _effect_of(finding, traces) if finding.relation else None
    if effect is None or not (effect.works or _blocks(effect.lock)):
        return finding
    heaviest = _heaviest(finding, effect, traces, weights)
    if heaviest.relation and heaviest.relation != finding.relation:
        effect, finding = heaviest, replace(finding, relation=heaviest.relation)
    weight = weights.tables.get(finding.relation)
    if weight is None:
        return _measuring(finding, f"the size of {finding.relation} is not known")
    if effect.works and finding.rule == WORK_AFTER_LOCK.id:
        finding = _measuring(finding, _work(finding.relation, effect, weight))
    elif effect.works:
        # It says again what was measured, and how much that is.
        finding = replace(finding, measured=_work(finding.relation, effect, weight))
    finding = _measuring(finding, *_traffic(finding.relation, effect, weight, weights))
    return replace(finding, severity=_severity(finding, effect, weight))


def _heaviest(
    finding: Finding, effect: Effect, traces: Sequence[Traced], weights: Weights
) -> Effect:
    """Give the same work on the relation that takes longest: one of many partitions, say."""
    same = [
        other
        for traced in traces
        if f"{traced.version}.sql" == finding.file
        for ran in traced.statements
        if effect in ran.effects_at((finding.line, finding.column))
        for other in ran.effects_at((finding.line, finding.column))
        if (bool(other.rewrite), bool(other.builds)) == (bool(effect.rewrite), bool(effect.builds))
        and other.works
        and other.relation in weights.tables
    ]
    return max(same, key=lambda e: weights.tables[e.relation].seconds(e), default=effect)


def _measuring(finding: Finding, *words: str) -> Finding:
    measured = "; ".join(filter(None, (finding.measured, *words)))
    return replace(finding, measured=measured)


def _effect_of(finding: Finding, traces: Sequence[Traced]) -> Effect | None:
    """Find what the statement of a finding does to its relation: measured, or else claimed.

    Only of findings that are about that: the drop of a small table is no smaller a matter.
    """
    rule = BY_ID.get(finding.rule)
    claim = rule.claim if rule else None
    if claim is None and finding.layer is not Layer.TRACE:
        return None
    traced = next((t for t in traces if f"{t.version}.sql" == finding.file), None)
    at = (finding.line, finding.column)
    before = [s for s in traced.statements if (s.line, s.column) <= at] if traced else []
    if traced is not None and before and not before[-1].skipped:
        return _traced_effect(finding, traced, before)
    return _CLAIMED[claim] if claim else None


def _traced_effect(
    finding: Finding, traced: Traced, before: Sequence[TracedStatement]
) -> Effect | None:
    """Give what the last of some statements does to the relation.

    A lock that an earlier statement of the same transaction took is held meanwhile.
    """
    ran = before[-1]
    here = ran.effects_at((finding.line, finding.column))
    found = next((effect for effect in here if effect.relation == finding.relation), None)
    if found is None or not traced.transactional:
        return found
    if finding.rule == WORK_AFTER_LOCK.id:
        # Whoever waits, waits for what is held, and not for this statement's own lock.
        return replace(found, lock=max((h.mode for h in ran.held), key=lambda m: m.rank))
    locks = [
        effect.lock
        for statement in before
        for effect in statement.effects
        if effect.relation == finding.relation and effect.lock
    ]
    return replace(found, lock=max(locks, key=lambda lock: lock.rank, default=None))


def _blocks(lock: LockMode | None) -> bool:
    """Say whether writes, or reads and writes, wait for a lock."""
    return lock is not None and lock.blocks_writes


def _severity(finding: Finding, effect: Effect, weight: Weight) -> Severity:
    if not effect.works:
        return finding.severity
    if weight.small and not (finding.layer is Layer.TRACE and finding.severity is Severity.ERROR):
        return Severity.INFO
    long = weight.seconds(effect) >= LONG_S and _blocks(effect.lock)
    return Severity.ERROR if long else finding.severity


def _work(relation: str, effect: Effect, weight: Weight) -> str:
    """Say what is done to how much, for how long, and who waits."""
    read = weight.bytes if effect.rewrite else weight.heap_bytes
    rows = "never analysed" if weight.estimated else amounts.in_rows(weight.rows)
    parts = [
        f"{_doing(effect)} {relation}: {rows}",
        amounts.in_bytes(read),
    ]
    if seconds := weight.seconds(effect):
        parts.append(f"{amounts.in_time(seconds)} with {_waiting(effect.lock)}")
    return ", ".join(parts)


def _doing(effect: Effect) -> str:
    if effect.rewrite:
        return "rewrites"
    if effect.builds:
        many = len(effect.builds)
        return f"builds {many} indexes on" if many > 1 else "builds an index on"
    return "reads all of"


def _waiting(lock: LockMode | None) -> str:
    if lock is LockMode.ACCESS_EXCLUSIVE:
        return "reads and writes blocked"
    return "writes blocked" if _blocks(lock) else "reads and writes going on"


def _traffic(relation: str, effect: Effect, weight: Weight, weights: Weights) -> list[str]:
    """Say how many writes meet the lock, where they are many."""
    if not _blocks(effect.lock) or not weight.writes:
        return []
    if weights.counted_s:
        rate = weight.writes / weights.counted_s
        if rate < MANY_A_SECOND:
            return []
        over = amounts.in_time(weights.counted_s)
        return [f"{relation} has about {rate:,.0f} writes a second (counted over {over})"]
    if weight.writes < MANY_WRITES:
        return []
    return [f"{relation} has had {weight.writes:,} writes (since when is not known)"]
