"""Workflow commands: GitHub shows each finding beside its line in a pull request.

The form is that of docs.github.com, "Workflow commands for GitHub Actions"; what is escaped, and
that columns are taken only on one line, is as the runner reads it (github.com/actions/runner,
`ActionCommand.cs`). GitHub shows ten errors, ten warnings and ten notices of a step; the log holds
all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headwater.model import Finding, Severity
from headwater.report.formats.place import Place, details, on_one_line
from headwater.verdicts import Linted

_COMMAND: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}

# The sign of the escapes itself comes first, in both.
_DATA: Final = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))
_PROPERTY: Final = (*_DATA, (":", "%3A"), (",", "%2C"))


def github(outcome: Linted, place: Place) -> str:
    """Give a command a line for each finding and each note."""
    lines = [_command(finding, place) for finding in outcome.findings]
    lines += [_written("notice", {"title": "lint"}, note) for note in outcome.notes]
    return "".join(f"{line}\n" for line in lines)


def _command(finding: Finding, place: Place) -> str:
    message = "\n".join([finding.message, *details(finding)])
    return _written(_COMMAND[finding.severity], dict(_properties(finding, place)), message)


def _properties(finding: Finding, place: Place) -> Iterator[tuple[str, str]]:
    yield "file", place.path(finding.file)
    if finding.line:
        yield "line", str(finding.line)
        if finding.column and on_one_line(finding):
            yield "col", str(finding.column)
        if finding.end_line:
            yield "endLine", str(finding.end_line)
        if finding.column and finding.end_column and on_one_line(finding):
            yield "endColumn", str(finding.end_column)
    yield "title", finding.rule


def _written(command: str, properties: dict[str, str], message: str) -> str:
    said = ",".join(f"{name}={_escaped(value, _PROPERTY)}" for name, value in properties.items())
    return f"::{command} {said}::{_escaped(message, _DATA)}"


def _escaped(text: str, escapes: tuple[tuple[str, str], ...]) -> str:
    for plain, escape in escapes:
        text = text.replace(plain, escape)
    return text
