"""The rules of lint: each finds its bad example, and leaves its good one alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headwater.checks.linting import lint
from headwater.checks.pages import MARK, rewrite, rules_page
from headwater.checks.rules import BY_ID, CHOSEN_OF_SQUAWK, RULES, Rule
from headwater.checks.squawk import run_squawk
from headwater.files.read import read_folder
from headwater.model import Layer
from headwater.verdicts import Linted
from tests.support import write_files

ROOT = Path(__file__).parent.parent
LINT_PAGE = ROOT / "docs/lint.md"

# What a text alone shows; the rules of other layers have tests of their own.
TEXT = [rule for rule in RULES if rule.layer is Layer.TEXT]
every_rule = pytest.mark.parametrize("rule", TEXT, ids=lambda rule: rule.id)


@pytest.fixture(scope="module", autouse=True)
def squawk_is_installed() -> None:
    assert run_squawk(()).note == "", "these tests need squawk: pip install -e '.[dev]'"


def linted(folder: Path, text: str) -> Linted:
    write_files(folder, {"20240101_example.sql": text})
    return lint(read_folder(folder))


def line_of_first_statement(text: str) -> int:
    lines = text.splitlines()
    return next((n for n, line in enumerate(lines, 1) if not line.startswith("--")), 1)


@every_rule
def test_a_rule_finds_its_bad_example_at_its_line(tmp_path: Path, rule: Rule) -> None:
    about_a_comment = rule.id in ("directive", "foreign-directive", "unused-allow")
    line = 1 if about_a_comment else line_of_first_statement(rule.bad)
    found = [finding for finding in linted(tmp_path, rule.bad).findings if finding.rule == rule.id]
    assert found, f"{rule.id} does not find its bad example"
    assert {(f.line, f.severity, f.file) for f in found} == {
        (line, rule.severity, "20240101_example.sql")
    }
    assert all(finding.hint and finding.column for finding in found)


@every_rule
def test_a_rule_leaves_its_good_example_alone(tmp_path: Path, rule: Rule) -> None:
    assert linted(tmp_path, rule.good).findings == ()


@every_rule
def test_a_rule_says_why_and_what_to_write_in_one_sentence_each(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
    assert rule.why.endswith(".")
    assert not rule.instead.endswith(".")


def test_no_rule_has_the_name_of_another() -> None:
    assert len(BY_ID) == len(RULES)


def test_no_bad_example_is_found_by_rules_that_say_nothing_about_it(tmp_path: Path) -> None:
    # A foreign key is a constraint too: the one example that two rules are about.
    both = {"adding-foreign-key-constraint": {"constraint-missing-not-valid"}}
    for rule in TEXT:
        found = {finding.rule for finding in linted(tmp_path / rule.id, rule.bad).findings}
        assert found - {rule.id} == both.get(rule.id, set())


def test_findings_of_squawk_have_our_words_and_our_severity(tmp_path: Path) -> None:
    rule = next(rule for rule in CHOSEN_OF_SQUAWK if rule.id == "ban-drop-table")
    [finding] = linted(tmp_path, "drop table app.t;\n").findings
    assert (finding.message, finding.hint, finding.severity, finding.source) == (
        rule.why,
        rule.instead,
        rule.severity,
        "drop table app.t;",
    )


# --- the page ---------------------------------------------------------------------------------


def test_the_page_of_lint_is_what_the_rules_say() -> None:
    page = LINT_PAGE.read_text(encoding="utf-8")
    assert page[page.index(MARK) :] == rules_page(), (
        "write it anew: python -m headwater.checks.pages docs/lint.md"
    )


def test_every_rule_has_a_section() -> None:
    headings = re.findall(r"^### (.+)$", rules_page(), flags=re.MULTILINE)
    assert sorted(headings) == sorted(rule.id for rule in TEXT)


def test_writing_the_page_anew_keeps_what_stands_above_the_mark(tmp_path: Path) -> None:
    page = tmp_path / "lint.md"
    page.write_text(f"# Lint\n\nBy hand.\n\n{MARK}\nold\n")
    rewrite(page)
    assert page.read_text() == f"# Lint\n\nBy hand.\n\n{rules_page()}"
