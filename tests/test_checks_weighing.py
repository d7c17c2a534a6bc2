"""The weight of findings: what they mean on the real table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.checks.rules import BY_ID
from headwater.checks.rules.rule import Claim
from headwater.checks.weighing import weigh
from headwater.model import Finding, Layer, Severity
from headwater.outcomes import LockMode
from headwater.verdicts import Effect, Traced, TracedStatement, Weight, Weights

GB = 1 << 30
BIG = Weight(rows=48_000_000, heap_bytes=30 * GB, index_bytes=11 * GB)
MIDDLE = Weight(rows=200_000, heap_bytes=100_000_000, index_bytes=50_000_000)
SMALL = Weight(rows=9_999, heap_bytes=4_000_000, index_bytes=1_000_000)
AX, SUX, S = LockMode.ACCESS_EXCLUSIVE, LockMode.SHARE_UPDATE_EXCLUSIVE, LockMode.SHARE


def weights(weight: Weight | None, counted_s: float | None = None) -> Weights:
    tables = {} if weight is None else {"kb.documents": weight}
    return Weights(tables=tables, source="app", version=18, counted_s=counted_s)


def effect(**what: object) -> Effect:
    return Effect(relation="kb.documents", kind="table", **({"lock": AX} | what))  # type: ignore[arg-type]


def traced(*effects: Effect, skipped: str = "", transactional: bool = True) -> Traced:
    """Give a trace of one statement on line 3, for each effect; those before on the lines above."""
    first = 4 - len(effects)
    return Traced(
        version="0001_a",
        transactional=transactional,
        statements=tuple(
            TracedStatement(number=n, line=first + n, text="…", effects=(one,), skipped=skipped)
            for n, one in enumerate(effects)
        ),
    )


def finding(rule: str = "changing-column-type", **what: object) -> Finding:
    given = {"relation": "kb.documents", "file": "0001_a.sql", "line": 3, "column": 1}
    given |= {"severity": Severity.WARNING, "message": "m"}
    return Finding(rule=rule, **(given | what))  # type: ignore[arg-type]


def weighed(one: Finding, trace: Traced | None, table: Weights) -> Finding:
    [found] = weigh([one], [trace] if trace else [], table)
    return found


OF_TRACE = {"rule": "rewrite", "layer": Layer.TRACE}


@pytest.mark.parametrize(
    ("does", "weight", "severity", "measured"),
    [
        (
            {"rewrite": "column type"},
            BIG,
            Severity.ERROR,
            "rewrites kb.documents: 48 M rows, 41 GB, about 12 min with reads and writes blocked",
        ),
        (
            {"rewrite": "default"},
            MIDDLE,
            Severity.WARNING,
            "rewrites kb.documents: 200 k rows, 143 MB, about 2 s with reads and writes blocked",
        ),
        (
            {"rewrite": "default"},
            SMALL,
            Severity.INFO,
            (
                "rewrites kb.documents: 10 k rows, 4.8 MB, less than a second with reads and "
                "writes blocked"
            ),
        ),
        (
            {"scans": 1},
            BIG,
            Severity.ERROR,
            (
                "reads all of kb.documents: 48 M rows, 30 GB, about 9 min with reads and writes "
                "blocked"
            ),
        ),
        (
            {"scans": 2, "builds": ("a",), "lock": S},
            BIG,
            Severity.ERROR,
            "builds an index on kb.documents: 48 M rows, 30 GB, about 18 min with writes blocked",
        ),
        (
            {"builds": ("a", "b"), "lock": SUX},
            BIG,
            Severity.WARNING,
            (
                "builds 2 indexes on kb.documents: 48 M rows, 30 GB, about 18 min with reads and "
                "writes going on"
            ),
        ),
    ],
)
def test_work_on_a_table_is_told_and_judged_by_its_weight(
    does: dict[str, object], weight: Weight, severity: Severity, measured: str
) -> None:
    found = weighed(finding(**OF_TRACE), traced(effect(**does)), weights(weight))
    assert (found.severity, found.measured) == (severity, measured)


@pytest.mark.parametrize(
    ("weight", "severity"),
    [
        (Weight(rows=9_999, heap_bytes=9_999_999, index_bytes=0), Severity.INFO),
        (Weight(rows=10_000, heap_bytes=9_999_999, index_bytes=0), Severity.WARNING),
        (Weight(rows=9_999, heap_bytes=9_999_999, index_bytes=1), Severity.WARNING),
        (Weight(rows=10**6, heap_bytes=60_000_000 * 60 - 1, index_bytes=0), Severity.WARNING),
        (Weight(rows=10**6, heap_bytes=60_000_000 * 60, index_bytes=0), Severity.ERROR),
    ],
)
def test_the_borders_of_small_and_long(weight: Weight, severity: Severity) -> None:
    trace = traced(effect(rewrite="column type"))
    assert weighed(finding(**OF_TRACE), trace, weights(weight)).severity is severity


@pytest.mark.parametrize(
    ("claim", "doing"),
    [
        (Claim.REWRITE, "rewrites kb.documents: 48 M rows, 41 GB, "),
        (Claim.SCAN, "reads all of kb.documents: 48 M rows, 30 GB, "),
        (Claim.INDEX_BUILD, "builds an index on kb.documents: 48 M rows, 30 GB, "),
    ],
)
@pytest.mark.parametrize("trace", [None, "skipped"])
def test_what_was_not_traced_is_weighed_by_what_its_rule_claims(
    monkeypatch: pytest.MonkeyPatch, claim: Claim, doing: str, trace: str | None
) -> None:
    rule = replace(BY_ID["changing-column-type"], claim=claim)
    monkeypatch.setitem(BY_ID, rule.id, rule)
    not_run = traced(effect(), skipped="it changes a role") if trace else None
    found = weighed(finding(), not_run, weights(BIG))
    assert found.measured.startswith(doing)
    assert found.severity is Severity.ERROR


def test_a_table_of_unknown_size_leaves_a_finding_as_it_is_and_says_so() -> None:
    found = weighed(finding(**OF_TRACE), traced(effect(scans=1)), weights(None))
    assert (found.severity, found.measured) == (
        Severity.WARNING,
        "the size of kb.documents is not known",
    )


def test_what_was_measured_is_told_with_how_much_that_is() -> None:
    one = finding(**OF_TRACE, measured="reads all of kb.documents: SHARE, blocks writes")
    found = weighed(one, traced(effect(scans=1)), weights(SMALL))
    assert found.measured.startswith("reads all of kb.documents: 10 k rows")


def test_a_lock_of_an_earlier_statement_counts_in_a_transaction_only() -> None:
    first, then = effect(lock=AX), effect(lock=None, scans=1)
    held = weighed(finding(**OF_TRACE), traced(first, then), weights(BIG))
    assert (held.severity, "reads and writes blocked" in held.measured) == (Severity.ERROR, True)
    free = traced(first, then, transactional=False)
    found = weighed(finding(**OF_TRACE), free, weights(BIG))
    assert (found.severity, "going on" in found.measured) == (Severity.WARNING, True)


@pytest.mark.parametrize(
    "one",
    [
        finding("ban-drop-table"),
        finding("syntax", severity=Severity.ERROR),
        finding(**OF_TRACE, relation=""),
        finding(**OF_TRACE, relation="kb.another"),
        finding(**OF_TRACE, file="0002_b.sql"),
        finding(**OF_TRACE, line=1),
    ],
)
def test_a_finding_that_is_about_no_work_on_the_table_stays_as_it_is(one: Finding) -> None:
    assert weighed(one, traced(effect(scans=1)), weights(SMALL)) == one


def test_an_error_of_the_trace_is_none_the_less_on_a_small_table() -> None:
    one = finding(**OF_TRACE, severity=Severity.ERROR)
    assert weighed(one, traced(effect(scans=1)), weights(SMALL)).severity is Severity.ERROR


def busy(writes: int) -> Weight:
    return Weight(rows=50_000, heap_bytes=1, index_bytes=1, writes=writes)


A_SECOND = "kb.documents has about 600 writes a second (counted over about 17 min)"


@pytest.mark.parametrize(
    ("lock", "writes", "counted_s", "told"),
    [
        (
            AX,
            600_000,
            1_000.0,
            "kb.documents has about 600 writes a second (counted over about 17 min)",
        ),
        (
            S,
            600_000,
            1_000.0,
            "kb.documents has about 600 writes a second (counted over about 17 min)",
        ),
        (AX, 999, 1_000.0, ""),
        (SUX, 600_000, 1_000.0, ""),
        (AX, 600_000, None, "kb.documents has had 600,000 writes (since when is not known)"),
        (AX, 1_000, None, ""),
    ],
)
def test_a_lock_that_blocks_says_how_much_is_written(
    lock: LockMode, writes: int, counted_s: float | None, told: str
) -> None:
    found = weighed(
        finding(**OF_TRACE), traced(effect(lock=lock)), weights(busy(writes), counted_s)
    )
    assert (found.measured, found.severity) == (told, Severity.WARNING)


def test_rows_that_were_never_counted_are_said_to_be_so() -> None:
    weight = Weight(rows=50_000, heap_bytes=5_000_000, index_bytes=0, estimated=True)
    found = weighed(finding(**OF_TRACE), traced(effect(scans=1)), weights(weight))
    assert found.measured.startswith("reads all of kb.documents: never analysed, 4.8 MB")
