"""JUnit's XML, which every CI server reads: a case for each file, and for each finding that fails.

One finding, one case: Jenkins, GitLab and Azure DevOps show the first `failure` of a case and drop
the others. GitLab takes only the first of several cases with the same name
(docs.gitlab.com, "Unit test reports"), so a name says rule and place, and is counted where that is
not enough.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from headwater.model import Finding
from headwater.report.formats.place import Place, details, files_of
from headwater.report.forms import finding_lines
from headwater.verdicts import Linted

# What XML 1.0 has no way to write (section 2.2), and \r, which a reader takes for a line's end.
_ILLEGAL: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcome: Linted, place: Place) -> str:
    """Give a suite: files in order, each passed or with its failures; the rest as output."""
    failures = [finding for finding in outcome.findings if place.fails(finding)]
    suite = Element("testsuite", name="lint", errors="0", skipped="0")
    cases = Counter[tuple[str, str]]()
    for finding in failures:
        suite.append(_failed(finding, place, cases))
    failed = {finding.file for finding in failures}
    for file in files_of(outcome, place):
        if file not in failed:
            suite.append(_passed(file, place))
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(failures)))
    _say(suite, _below(outcome, place))
    root = Element("testsuites", name="Headwater")
    root.append(suite)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _passed(file: str, place: Place) -> Element:
    path = _legal(place.path(file))
    return Element("testcase", classname=path, name="lint", file=path)


def _failed(finding: Finding, place: Place, cases: Counter[tuple[str, str]]) -> Element:
    """Give the case of a finding; `cases` counts the names that there were."""
    path = _legal(place.path(finding.file))
    name = _legal(f"{finding.rule}{_where(finding)}")
    cases[path, name] += 1
    count = cases[path, name]
    case = Element(
        "testcase", classname=path, name=name if count == 1 else f"{name} ({count})", file=path
    )
    if finding.line:
        case.set("line", str(finding.line))
    failure = SubElement(case, "failure", type=_legal(finding.rule))
    failure.set("message", _legal(finding.message))
    said = f"{path}{_where(finding)}"
    failure.text = _legal("\n".join([said, finding.message, *details(finding)]))
    return case


def _where(finding: Finding) -> str:
    if not finding.line:
        return ""
    return f":{finding.line}:{finding.column}" if finding.column else f":{finding.line}"


def _below(outcome: Linted, place: Place) -> list[str]:
    """Give what is said beside the failures: findings below the threshold, and notes."""
    quiet = (finding for finding in outcome.findings if not place.fails(finding))
    lines = [line.text for finding in quiet for line in finding_lines(finding)]
    return lines + [f"note: {note}" for note in outcome.notes]


def _say(suite: Element, lines: list[str]) -> None:
    if lines:
        SubElement(suite, "system-out").text = _legal("\n".join(lines))


def _legal(text: str) -> str:
    """Remove what XML cannot hold."""
    return _ILLEGAL.sub("", text.replace("\r", "\n"))
