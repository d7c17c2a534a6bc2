"""GitLab's report of code quality, read back as JSON."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings

from headwater.report.formats import formatted
from headwater.report.formats.place import fingerprints, readable
from headwater.verdicts import Linted
from tests.lint_samples import EVERYTHING, PLACE, REWRITE, hostile


def issues(outcome: Linted) -> list[dict[str, Any]]:
    text = formatted(outcome, "gitlab", PLACE)
    assert text.encode("utf-8").startswith(b"[")
    found = json.loads(text)
    assert isinstance(found, list)
    return found


def test_a_finding_has_the_fields_that_gitlab_asks_for() -> None:
    [fingerprint] = fingerprints([REWRITE], PLACE)
    assert issues(Linted(findings=(REWRITE,), files=1)) == [
        {
            "description": "The table is written anew while nobody can read it. "
            "kb.documents is written anew under ACCESS EXCLUSIVE; 48 M rows, 41 GB. "
            "A rewrite takes as long as the table is large. "
            "Instead: add a column of the new type, fill it in batches, swap the names "
            "See docs/rules/changing-column-type.md",
            "check_name": "changing-column-type",
            "fingerprint": fingerprint,
            "severity": "critical",
            "location": {
                "path": "db/migrations/20250101_big.sql",
                "lines": {"begin": 4, "end": 4},
            },
        }
    ]


def test_severities_are_words_of_gitlab() -> None:
    assert [issue["severity"] for issue in issues(EVERYTHING)] == ["critical", "minor", "info"]


def test_what_has_no_line_is_on_the_first() -> None:
    assert issues(EVERYTHING)[2]["location"] == {"path": "db/migrations", "lines": {"begin": 1}}


def test_nothing_found_is_an_empty_array() -> None:
    assert issues(Linted(findings=(), files=3)) == []


@settings(max_examples=50, deadline=None)
@given(hostile)
def test_whatever_is_said_is_one_issue_each_with_a_fingerprint_of_its_own(outcome: Linted) -> None:
    outcome = readable(outcome)
    found = issues(outcome)
    assert len({issue["fingerprint"] for issue in found}) == len(outcome.findings)
    for issue, finding in zip(found, outcome.findings, strict=True):
        assert issue["check_name"] == finding.rule
        assert issue["location"]["path"] == PLACE.path(finding.file)
        assert issue["location"]["lines"]["begin"] >= 1
        assert issue["description"].startswith(" ".join(finding.message.split()))
