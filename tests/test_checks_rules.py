"""The rules of lint: each finds its bad example, and leaves its good one alone."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from headwater.checks.linting import lint
from headwater.checks.pages import pages, rewrite
from headwater.checks.rules import (
    BY_ID,
    CHOSEN_OF_SQUAWK,
    EXAMPLE_SCHEMA,
    REFUSED,
    RULES,
    Claim,
    Rule,
)
from headwater.checks.rules.folder import FOLDER
from headwater.checks.squawk import run_squawk
from headwater.files.grammar import parse
from headwater.files.read import read_folder
from headwater.model import Layer
from headwater.verdicts import Linted
from tests.conftest import FreshDatabase
from tests.support import write_files

ROOT = Path(__file__).parent.parent
RULES_PAGES = ROOT / "docs/rules"

# The examples of FOLDER are folders under git: test_checks_folder.py makes them.
OF_TEXT = [rule for rule in RULES if rule.layer is Layer.TEXT and rule not in FOLDER]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
every_rule_of_text = pytest.mark.parametrize("rule", OF_TEXT, ids=lambda rule: rule.id)

# Where a bad example is found that begins with what makes it bad.
FOUND_AT = {
    "add-domain-column": 2,
    "commit-in-block": 3,
    "enum-value-used": 2,
    "validate-in-same-file": 2,
}
# The rules about what PostgreSQL refuses.
FAILS = (
    "adding-required-field",
    "ban-duplicate-column-assignments",
    "commit-in-block",
    "enum-value-used",
)


@pytest.fixture(scope="module", autouse=True)
def squawk_is_installed() -> None:
    assert run_squawk(()).notes == (), "these tests need squawk: pip install -e '.[dev]'"


def linted(folder: Path, text: str) -> Linted:
    write_files(folder, {"20240101_example.sql": text})
    return lint(read_folder(folder))


def line_of_first_statement(text: str) -> int:
    lines = text.splitlines()
    return next((n for n, line in enumerate(lines, 1) if not line.startswith("--")), 1)


@every_rule_of_text
def test_a_rule_finds_its_bad_example_at_its_line(tmp_path: Path, rule: Rule) -> None:
    about_a_comment = rule.id in ("directive", "foreign-directive", "unused-allow")
    first = 1 if about_a_comment else line_of_first_statement(rule.bad)
    line = FOUND_AT.get(rule.id, first)
    found = [finding for finding in linted(tmp_path, rule.bad).findings if finding.rule == rule.id]
    assert found, f"{rule.id} does not find its bad example"
    assert {(f.line, f.severity, f.file) for f in found} == {
        (line, rule.severity, "20240101_example.sql")
    }
    assert all(f.hint and f.column and f.why and f.page == rule.page for f in found)


@every_rule_of_text
def test_a_rule_leaves_its_good_example_alone(tmp_path: Path, rule: Rule) -> None:
    assert linted(tmp_path, rule.good).findings == ()


@every_rule
def test_a_rule_says_why_and_what_to_write_in_one_sentence_each(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
    assert rule.why.endswith(".")
    assert not rule.instead.endswith(".")


def test_no_rule_has_the_name_of_another() -> None:
    assert len(BY_ID) == len(RULES)


@every_rule_of_text
def test_no_bad_example_is_found_by_rules_that_say_nothing_about_it(
    tmp_path: Path, rule: Rule
) -> None:
    assert {finding.rule for finding in linted(tmp_path, rule.bad).findings} == {rule.id}


@every_rule_of_text
def test_what_rules_of_lint_find_ends_where_its_statement_ends_or_before(
    tmp_path: Path, rule: Rule
) -> None:
    last_line = rule.bad.rstrip(";\n").count("\n") + 1
    for finding in linted(tmp_path, rule.bad).findings:
        if rule not in REFUSED:
            begin, end = (finding.line, finding.column), (finding.end_line, finding.end_column)
            assert begin < end
            assert finding.end_line <= last_line


def test_rules_about_time_and_locks_say_what_they_claim() -> None:
    claims = {rule.id: rule.claim for rule in OF_TEXT if rule.claim}
    assert {
        "adding-field-with-default": Claim.REWRITE,
        "changing-column-type": Claim.REWRITE,
        "stored-generated-column": Claim.REWRITE,
        "adding-not-nullable-field": Claim.SCAN,
        "constraint-missing-not-valid": Claim.SCAN,
        "add-column-check": Claim.SCAN,
        "require-concurrent-index-creation": Claim.INDEX_BUILD,
        "disallowed-unique-constraint": Claim.INDEX_BUILD,
        "require-concurrent-index-deletion": Claim.LOCK,
        "partition-of": Claim.LOCK,
    }.items() <= claims.items()


def test_the_safe_form_is_that_of_the_server() -> None:
    rule = BY_ID["adding-not-nullable-field"]
    assert "NOT NULL column NOT VALID" in rule.instead_on(18)
    assert rule.instead_on(17) == rule.instead_on(None) == rule.instead
    assert "VIRTUAL" in BY_ID["stored-generated-column"].instead_on(18)


# --- the examples, on a server ----------------------------------------------------------------


@pytest.fixture(scope="module")
def examples(fresh_database: FreshDatabase) -> Generator[psycopg.Connection[object]]:
    with fresh_database() as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def run_example(connection: psycopg.Connection[object], rule: Rule, text: str) -> None:
    """Run an example behind its schema, as migrate would send it, and leave nothing of it."""
    connection.execute((EXAMPLE_SCHEMA + rule.setup).encode())
    try:
        if "headwater: no-transaction" in text:
            for statement in parse(text).statements:
                connection.execute(statement.text.encode())
        else:
            with connection.transaction(force_rollback=True):
                connection.execute(text.encode())
    finally:
        connection.execute("drop schema if exists app, archive cascade")


@every_rule_of_text
def test_a_good_example_runs(examples: psycopg.Connection[object], rule: Rule) -> None:
    run_example(examples, rule, rule.good)


@pytest.mark.parametrize(
    "rule", [rule for rule in OF_TEXT if rule not in REFUSED], ids=lambda rule: rule.id
)
def test_a_bad_example_runs_unless_that_is_what_is_bad(
    examples: psycopg.Connection[object], rule: Rule
) -> None:
    if rule.id in FAILS:
        with pytest.raises(psycopg.Error):
            run_example(examples, rule, rule.bad)
    else:
        run_example(examples, rule, rule.bad)


# --- words ------------------------------------------------------------------------------------


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
