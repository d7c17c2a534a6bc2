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
        "description": finding.message,
        "check_name": finding.rule,
        "fingerprint": fingerprint,
        "severity": _SEVERITY[finding.severity],
        "location": {"path": place.path(finding.file), "positions": _positions(finding)},
        "content": {"body": "\n\n".join(details(finding))},
    }


def _positions(finding: Finding) -> dict[str, Any]:
    """Give where a finding begins and ends; a place is a must, so what has none is on line 1."""
    begin = {"line": finding.line or 1, "column": finding.column or 1}
    if not finding.end_line:
        return {"begin": begin}
    return {
        "begin": begin,
        "end": {"line": finding.end_line, "column": finding.end_column or 1},
    }
