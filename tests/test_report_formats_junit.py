"""JUnit's XML, read back by a parser of XML."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hypothesis import given, settings

from headwater.model import Severity
from headwater.report.formats import Place, formatted
from headwater.report.formats.place import readable
from headwater.verdicts import Linted
from tests.lint_samples import DROP, EVERYTHING, NAMELESS, PLACE, REWRITE, hostile


def suite_of(outcome: Linted, place: Place = PLACE) -> Element:
    """Give the one suite; its counts are those of its cases, and each case has its own name."""
    root = ElementTree.fromstring(formatted(outcome, "junit", place).encode("utf-8"))
    assert root.tag == "testsuites"
    [suite] = root
    cases = suite.findall("testcase")
    failed = [case for case in cases if case.find("failure") is not None]
    assert suite.get("tests") == str(len(cases))
    assert suite.get("failures") == str(len(failed))
    assert all(len(case.findall("failure")) <= 1 for case in cases)
    names = [(case.get("classname"), case.get("name")) for case in cases]
    assert len(set(names)) == len(names)
    return suite


def failures(suite: Element) -> list[Element]:
    return suite.findall("testcase/failure")


def test_a_finding_at_the_threshold_is_a_case_that_fails() -> None:
    suite = suite_of(EVERYTHING)
    failed, passed = suite.findall("testcase")
    assert failed.attrib == {
        "classname": "db/migrations/20250101_big.sql",
        "name": "changing-column-type:4:1",
        "file": "db/migrations/20250101_big.sql",
        "line": "4",
    }
    [failure] = failures(suite)
    assert (failure.get("type"), failure.get("message")) == (REWRITE.rule, REWRITE.message)
    text = failure.text or ""
    assert text.startswith("db/migrations/20250101_big.sql:4:1\nThe table is written anew")
    assert "Instead: add a column" in text
    assert passed.attrib == {
        "classname": "db/migrations/20250102_small.sql",
        "name": "lint",
        "file": "db/migrations/20250102_small.sql",
    }


def test_what_is_below_the_threshold_is_output_and_so_are_notes() -> None:
    output = suite_of(EVERYTHING).findtext("system-out") or ""
    assert "warning ban-drop-table: What reads it fails." in output
    assert "note: squawk is not installed" in output
    assert "changing-column-type" not in output


def test_the_threshold_decides_what_fails() -> None:
    suite = suite_of(EVERYTHING, replace(PLACE, threshold=Severity.INFO))
    assert [failure.get("type") for failure in failures(suite)] == [
        REWRITE.rule,
        DROP.rule,
        NAMELESS.rule,
    ]


def test_a_file_with_findings_below_the_threshold_passes() -> None:
    suite = suite_of(Linted(findings=(DROP,), files=1), replace(PLACE, files=()))
    assert [case.get("classname") for case in suite.findall("testcase")] == [
        "db/migrations/20250101_big.sql"
    ]
    assert failures(suite) == []


def test_nothing_found_has_a_case_for_each_file_and_no_output() -> None:
    suite = suite_of(Linted(findings=(), files=2))
    assert len(suite.findall("testcase")) == 2
    assert suite.find("system-out") is None


def test_two_findings_at_one_place_have_two_names() -> None:
    suite = suite_of(Linted(findings=(REWRITE, REWRITE), files=1), replace(PLACE, files=()))
    assert [case.get("name") for case in suite] == [
        "changing-column-type:4:1",
        "changing-column-type:4:1 (2)",
    ]


# --- whatever is said -------------------------------------------------------------------------


def legal(text: str) -> str:
    """Give a text as XML 1.0 can hold it, by the ranges of its section 2.2."""
    text = text.replace("\r", "\n")
    return "".join(
        c
        for c in text
        if c in "\t\n" or 0x20 <= ord(c) <= 0xD7FF or 0xE000 <= ord(c) <= 0xFFFD or ord(c) > 0xFFFF
    )


@settings(max_examples=50, deadline=None)
@given(hostile)
def test_whatever_is_said_is_xml_and_read_as_far_as_xml_can_hold_it(outcome: Linted) -> None:
    place = Place(threshold=Severity.WARNING)
    suite = suite_of(outcome, place)
    outcome = readable(outcome)
    expected = [finding for finding in outcome.findings if place.fails(finding)]
    assert [f.get("message") for f in failures(suite)] == [legal(f.message) for f in expected]
    assert [f.get("type") for f in failures(suite)] == [f.rule for f in expected]
    for failure, finding in zip(failures(suite), expected, strict=True):
        assert legal(finding.hint) in (failure.text or "")
    output = re.sub(r"\s", "", suite.findtext("system-out") or "")
    assert all(re.sub(r"\s", "", legal(note)) in output for note in outcome.notes)
