"""SARIF 2.1.0, for code scanning: GitHub, Azure DevOps, and editors with a viewer of it.

The form is that of docs.oasis-open.org/sarif/sarif/v2.1.0; section numbers below are of that text.
What GitHub wants beside it (a description and a help text of each rule, a region of each result) is
in docs.github.com, "SARIF support for code scanning".
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from headwater.model import Finding, Severity
from headwater.report.formats.place import Place, RuleFacts, details, fingerprints, rules_of
from headwater.verdicts import Linted

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

# What follows from other things than here needs another name (3.27.17).
_FINGERPRINT: Final = "headwaterFinding/v1"

_ROOT: Final = "%SRCROOT%"
_LEVEL: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def sarif(outcome: Linted, place: Place) -> str:
    """Give a log of one run: every rule, every finding; notes as notifications of the run."""
    rules = rules_of(outcome, place)
    run = {
        "tool": {"driver": _driver(rules, place)},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The root of the repository."}}},
        "invocations": [_invocation(outcome)],
        "results": _results(outcome, rules, place),
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, ensure_ascii=False, indent=2) + "\n"


def _driver(rules: list[RuleFacts], place: Place) -> dict[str, Any]:
    version = {"semanticVersion": place.version} if place.version else {}
    return {"name": "Headwater", **version, "rules": [_rule(rule, place) for rule in rules]}


def _rule(rule: RuleFacts, place: Place) -> dict[str, Any]:
    """Give a rule: why it matters, what to do instead, where to read more."""
    url = place.url_of(rule.page)
    help_texts = [
        rule.why,
        f"Instead: {rule.instead}" if rule.instead else "",
        f"See {url or rule.page}" if rule.page else "",
    ]
    form = {
        "id": rule.id,
        "shortDescription": _message(rule.why or rule.id),
        "fullDescription": _message(rule.why or rule.id),
        "help": _message("\n\n".join(text for text in help_texts if text) or rule.id),
        "defaultConfiguration": {"level": _LEVEL[rule.severity]},
        "properties": {"tags": ["sql", "migrations"]},
    }
    return form | {"helpUri": url} if url else form


def _invocation(outcome: Linted) -> dict[str, Any]:
    """Say that lint ran, whatever it found, and what it could not look at."""
    notes = [{"level": "note", "message": _message(note)} for note in outcome.notes]
    return {"executionSuccessful": True, "toolExecutionNotifications": notes}


def _results(outcome: Linted, rules: list[RuleFacts], place: Place) -> list[dict[str, Any]]:
    index = {rule.id: number for number, rule in enumerate(rules)}
    pairs = zip(outcome.findings, fingerprints(outcome.findings, place), strict=True)
    return [
        {
            "ruleId": finding.rule,
            "ruleIndex": index[finding.rule],
            "level": _LEVEL[finding.severity],
            "message": _message("\n\n".join([finding.message, *details(finding)])),
            "locations": [_location(finding, place)],
            "partialFingerprints": {_FINGERPRINT: fingerprint},
            "properties": {"layer": finding.layer.value, "measured": finding.measured},
        }
        for finding, fingerprint in pairs
    ]


def _location(finding: Finding, place: Place) -> dict[str, Any]:
    """Give a place; GitHub wants a line, so what has none is on the first."""
    physical = {
        "artifactLocation": {"uri": quote(place.path(finding.file)), "uriBaseId": _ROOT},
        "region": _region(finding),
    }
    if not finding.relation:
        return {"physicalLocation": physical}
    logical = {"fullyQualifiedName": finding.relation}
    return {"physicalLocation": physical, "logicalLocations": [logical]}


def _region(finding: Finding) -> dict[str, Any]:
    """Give lines and columns; both count from 1, and the last column is behind the end (3.30)."""
    region: dict[str, Any] = {"startLine": finding.line or 1}
    if finding.line and finding.column:
        region["startColumn"] = finding.column
    if finding.line and finding.end_line >= finding.line:
        region["endLine"] = finding.end_line
        if finding.end_column:
            region["endColumn"] = finding.end_column
    return region


def _message(text: str) -> dict[str, str]:
    """Give a message; braces would be places for arguments (3.11.5)."""
    return {"text": text.replace("{", "{{").replace("}", "}}")}
