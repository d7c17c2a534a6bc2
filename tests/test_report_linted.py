"""What lint shows to people and as JSON: plans, findings, the sum."""

from __future__ import annotations

from dataclasses import replace

from headwater.model import Finding, Severity
from headwater.report.forms import finding_json, finding_lines, folded
from headwater.report.linted import linted_json, linted_lines, summed
from headwater.verdicts import Linted
from tests.lint_samples import DROP, EVERYTHING, NAMELESS, QUIET, REWRITE, TRACE


def shown(outcome: Linted) -> list[str]:
    return [line.text for line in linted_lines(outcome)]


def test_a_finding_tells_place_facts_line_advice_and_page() -> None:
    assert [line.text for line in finding_lines(REWRITE)] == [
        (
            "  20250101_big.sql:4:1: error changing-column-type: "
            "The table is written anew while nobody can read it."
        ),
        "      kb.documents is written anew under ACCESS EXCLUSIVE; 48 M rows, 41 GB.",
        "      alter table kb.documents alter column n type bigint;",
        "      ^",
        "      instead: add a column of the new type, fill it in batches, swap the names",
        "      see docs/rules/changing-column-type.md",
    ]


def test_advice_of_several_lines_stays_in_its_place() -> None:
    lines = [line.text for line in finding_lines(replace(NAMELESS, hint="a;\nb;"))]
    assert lines[1:] == ["      a;", "      b;"]


def test_a_finding_fits_a_narrow_terminal_but_for_its_line_of_sql() -> None:
    pieces = [piece for line in finding_lines(REWRITE) for piece in folded(line, 40)]
    assert [piece for piece in pieces if len(piece) > 40] == [f"      {REWRITE.source}"]


def test_plans_go_before_findings_and_quiet_files_are_counted() -> None:
    lines = shown(EVERYTHING)
    assert lines[0] == "20250101_big.sql: 4 statements, in one transaction"
    quiet = lines.index("traced 1 file more: nothing that was there is touched")
    assert lines[quiet + 1] == ""
    assert lines[quiet + 2].startswith("  20250101_big.sql:4:1: error")
    assert lines[-3:] == [
        "note: squawk is not installed",
        "invoke lint --fix writes safe steps, --live asks the rows; or allow RULE because REASON",
        "3 findings in 2 files: 1 error, 1 warning, 1 info",
    ]


def test_without_traces_findings_begin_at_once() -> None:
    outcome = replace(EVERYTHING, traces=())
    assert shown(outcome)[0].startswith("  20250101_big.sql:4:1: error")


def test_the_sum_counts_by_severity_the_worst_first() -> None:
    outcome = Linted(findings=(NAMELESS, NAMELESS, DROP, DROP, REWRITE), files=1)
    assert summed(outcome) == "5 findings in 1 file: 1 error, 2 warnings, 2 info"
    assert summed(replace(outcome, findings=())) == "nothing found in 1 file"


# --- JSON -------------------------------------------------------------------------------------


def test_what_is_not_known_of_a_finding_is_null() -> None:
    form = finding_json(Finding(rule="r", message="m", severity=Severity.INFO))
    assert [name for name, value in form.items() if value is None] == [
        "line", "column", "end_line", "end_column", "why", "measured", "page", "relation",
    ]  # fmt: skip


def test_what_is_known_of_a_finding_is_there() -> None:
    form = finding_json(REWRITE)
    assert (form["end_line"], form["end_column"], form["layer"]) == (4, 53, "trace")
    for name in ("why", "measured", "page", "relation"):
        assert form[name] == getattr(REWRITE, name)


def test_weights_are_those_of_what_is_touched() -> None:
    weights = linted_json(EVERYTHING)["weights"]
    assert [table["relation"] for table in weights["tables"]] == ["kb.documents", "kb.tags"]
    alone = linted_json(replace(EVERYTHING, traces=()))["weights"]
    assert [table["relation"] for table in alone["tables"]] == ["kb.documents"]
    assert linted_json(replace(EVERYTHING, weights=None))["weights"] is None


def test_traces_are_given_whole() -> None:
    big, small = linted_json(EVERYTHING)["traces"]
    assert (big["version"], big["transaction"]) == (TRACE.version, True)
    assert (small["version"], small["transaction"]) == (QUIET.version, False)
    effect = big["statements"][1]["effects"][0]
    assert effect == {
        "relation": "kb.documents",
        "kind": "table",
        "lock": "ACCESS EXCLUSIVE",
        "blocks": "blocks reads and writes",
        "target": True,
        "rewrite": "column type",
        "scans": 2,
        "builds": ["kb.documents_n_idx"],
        "rows": 0,
    }
