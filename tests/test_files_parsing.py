"""A text becomes a script, or the finding that says where it is none."""

from __future__ import annotations

from headwater.files.grammar import COPY_FAULT, COPY_HINT, Script
from headwater.files.parsing import parse_or_explain
from headwater.model import Finding


def fault_of(text: str) -> Finding:
    finding = parse_or_explain(text, "a.sql")
    assert isinstance(finding, Finding)
    assert finding.file == "a.sql"
    return finding


def test_a_text_that_the_grammar_accepts_becomes_a_script() -> None:
    script = parse_or_explain("select 1;", "a.sql")
    assert isinstance(script, Script)
    assert script.text == "select 1;"


def test_a_text_that_it_refuses_is_explained_at_its_place() -> None:
    finding = fault_of("\n select \\x")
    assert (finding.rule, finding.line, finding.column) == ("syntax", 2, 9)
    assert (finding.source, finding.hint) == (" select \\x", "remove it")


def test_copy_with_its_data_breaks_the_rule_that_copy_without_breaks() -> None:
    finding = fault_of("select 1;\ncopy a from stdin;\n1\n\\.\n")
    assert (finding.rule, finding.message) == ("copy-stdin", COPY_FAULT)
    assert (finding.line, finding.column, finding.hint) == (2, 1, COPY_HINT)
