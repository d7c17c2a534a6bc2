"""GitLab's report of code quality: findings beside their lines in a merge request.

The form is that of docs.gitlab.com, "Code Quality report format": an array of objects, no
byte-order mark before it; GitLab shows one finding of those with the same fingerprint.
"""

from __future__ import annotations

import json
from typing import Any, Final

from headwater.model import Finding, Severity
from headwater.report.formats.place import Place, details, fingerprints
from headwater.verdicts import Linted

_SEVERITY: Final = {
    Severity.ERROR: "critical",
    Severity.WARNING: "minor",
    Severity.INFO: "info",
}


def gitlab(outcome: Linted, place: Place) -> str:
    """Give the array, a finding on the lines of an object."""
    pairs = zip(outcome.findings, fingerprints(outcome.findings, place), strict=True)
    issues = [_issue(finding, fingerprint, place) for finding, fingerprint in pairs]
    return json.dumps(issues, ensure_ascii=False, indent=2) + "\n"


def _issue(finding: Finding, fingerprint: str, place: Place) -> dict[str, Any]:
    return {
        # GitLab shows nothing else of it in a merge request, and that on one line.
        "description": " ".join(" ".join([finding.message, *details(finding)]).split()),
        "check_name": finding.rule,
        "fingerprint": fingerprint,
        "severity": _SEVERITY[finding.severity],
        "location": {"path": place.path(finding.file), "lines": _lines(finding)},
    }


def _lines(finding: Finding) -> dict[str, int]:
    """Give the lines of a finding; a place is a must, so what has none is on line 1."""
    begin = {"begin": finding.line or 1}
    return begin | {"end": finding.end_line} if finding.end_line else begin
