"""Allowances: of any layer, reusable, and never called unused where nobody has looked."""

from __future__ import annotations

import pytest

from headwater.checks.allowing import without_allowed
from headwater.checks.rules import BY_ID
from headwater.model import Finding
from tests.support import accepted_text

ALLOW = "-- headwater: allow truncate, ban-drop-table because nobody reads it\n"
TRUNCATE = Finding(rule="truncate", message="m", file="0001_a.sql", line=2, column=1)


def left(text: str, *findings: Finding, judged: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    file = accepted_text(text)
    return [(f.rule, f.message) for f in without_allowed(file, findings, judged_rules=judged)]


def test_what_is_allowed_is_taken_away_whichever_layer_found_it() -> None:
    assert left(f"{ALLOW}truncate app.t;", TRUNCATE) == []
    assert left("truncate app.t;", TRUNCATE) == [("truncate", "m")]


def test_an_allowance_of_a_rule_that_nobody_looked_at_is_not_unused() -> None:
    text = f"{ALLOW}select 1;"
    assert left(text) == []
    assert left(text, judged=("truncate",)) == [("unused-allow", "allow truncate allows nothing")]
    assert left(text, judged=("truncate", "ban-drop-table")) == [
        ("unused-allow", "allow truncate allows nothing"),
        ("unused-allow", "allow ban-drop-table allows nothing"),
    ]


def test_a_rule_that_does_not_exist_is_told_whatever_was_looked_at() -> None:
    assert left("-- headwater: allow no-such because x\nselect 1;") == [
        ("unused-allow", "allow no-such allows nothing: there is no such rule")
    ]


@pytest.mark.parametrize("indent", ["", "    "])
def test_an_unused_allowance_is_found_at_its_comment(indent: str) -> None:
    text = f"select 1;\n{indent}-- headwater: allow truncate because x\nselect 2;"
    [finding] = without_allowed(accepted_text(text), (), judged_rules=("truncate",))
    assert (finding.line, finding.column) == (2, len(indent) + 1)
    assert (finding.end_line, finding.end_column) == (2, len(text.splitlines()[1]) + 1)
    rule = BY_ID["unused-allow"]
    assert (finding.why, finding.hint, finding.page) == (rule.why, rule.instead, rule.page)
