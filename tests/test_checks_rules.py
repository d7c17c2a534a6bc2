"""The rules of lint: each finds its bad example, and leaves its good one alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headwater.checks.linting import lint
from headwater.checks.pages import pages, rewrite
from headwater.checks.rules import BY_ID, CHOSEN_OF_SQUAWK, RULES, Rule
from headwater.checks.rules.folder import FOLDER
from headwater.checks.squawk import run_squawk
from headwater.files.read import read_folder
from headwater.verdicts import Linted
from tests.support import write_files

ROOT = Path(__file__).parent.parent
RULES_PAGES = ROOT / "docs/rules"

# The examples of FOLDER are folders under git: test_checks_folder.py makes them.
OF_ONE_FILE = tuple(rule for rule in RULES if rule not in FOLDER)

every_rule = pytest.mark.parametrize("rule", OF_ONE_FILE, ids=lambda rule: rule.id)


@pytest.fixture(scope="module", autouse=True)
def squawk_is_installed() -> None:
    assert run_squawk(()).notes == (), "these tests need squawk: pip install -e '.[dev]'"


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
    for rule in OF_ONE_FILE:
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


# --- the pages --------------------------------------------------------------------------------


def test_the_pages_are_what_the_rules_say() -> None:
    there = {page.name: page.read_text(encoding="utf-8") for page in RULES_PAGES.glob("*.md")}
    assert there == dict(pages()), "write them anew: python -m headwater.checks.pages docs/rules"


def test_every_rule_has_a_page_and_a_line_in_the_list() -> None:
    written = dict(pages())
    assert sorted(written) == sorted(["README.md", *(f"{rule.id}.md" for rule in RULES)])
    assert all(f"[{rule.id}]({rule.id}.md)" in written["README.md"] for rule in RULES)


def test_a_page_says_the_safe_form_for_each_version() -> None:
    rule = next(rule for rule in RULES if rule.safe)
    page = dict(pages())[f"{rule.id}.md"]
    for since, form in rule.safe:
        assert f"- From PostgreSQL {since} on: {form}." in page
    assert f"- Before that: {rule.instead}." in page


def test_writing_the_pages_anew_removes_those_of_rules_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "no-such-rule.md").write_text("old")
    (tmp_path / "kept.txt").write_text("not a page")
    rewrite(tmp_path)
    names = {page.name for page in tmp_path.iterdir()}
    assert names == {"kept.txt", *dict(pages())}
