"""Workflow commands, read back by the rules of GitHub's runner (`ActionCommand.cs`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings

from headwater.model import Severity
from headwater.report.formats import formatted
from headwater.report.formats.place import details, readable
from headwater.verdicts import Linted
from tests.lint_samples import DROP, EVERYTHING, NAMELESS, PLACE, REWRITE, hostile


@dataclass(frozen=True)
class Command:
    name: str
    properties: dict[str, str]
    data: str


def read(line: str) -> Command:
    """Read a line as the runner does: the first `::` behind the name ends the properties."""
    assert line.startswith("::")
    info, found, data = line[2:].partition("::")
    assert found, f"no command: {line}"
    name, _, said = info.partition(" ")
    properties = {}
    for pair in filter(None, said.strip().split(",")):
        key, equals, value = pair.partition("=")
        assert equals
        properties[key] = unescaped(value, more=((":", "%3A"), (",", "%2C")))
    return Command(name, properties, unescaped(data))


def unescaped(text: str, more: tuple[tuple[str, str], ...] = ()) -> str:
    for plain, escape in (("\r", "%0D"), ("\n", "%0A"), *more, ("%", "%25")):
        text = text.replace(escape, plain)
    return text


def commands(outcome: Linted) -> list[Command]:
    text = formatted(outcome, "github", PLACE)
    assert "\r" not in text
    return [read(line) for line in text.split("\n")[:-1]]


def test_a_finding_is_an_annotation_of_its_line() -> None:
    [error, warning, notice, note] = commands(EVERYTHING)
    assert error.name == "error"
    assert error.properties == {
        "file": "db/migrations/20250101_big.sql",
        "line": "4",
        "col": "1",
        "endLine": "4",
        "endColumn": "53",
        "title": "changing-column-type",
    }
    assert error.data == (
        "The table is written anew while nobody can read it.\n"
        "kb.documents is written anew under ACCESS EXCLUSIVE; 48 M rows, 41 GB.\n"
        "A rewrite takes as long as the table is large.\n"
        "Instead: add a column of the new type, fill it in batches, swap the names\n"
        "See docs/rules/changing-column-type.md"
    )
    assert (warning.name, notice.name) == ("warning", "notice")
    assert (note.name, note.properties, note.data) == (
        "notice",
        {"title": "lint"},
        "squawk is not installed",
    )


def test_columns_are_given_on_one_line_only() -> None:
    # The runner takes none of them otherwise.
    [command] = commands(Linted(findings=(DROP,), files=1))
    assert (command.properties["line"], command.properties["endLine"]) == ("7", "9")
    assert not {"col", "endColumn"} & set(command.properties)


def test_what_has_no_place_is_told_of_the_folder() -> None:
    [command] = commands(Linted(findings=(NAMELESS,), files=1))
    assert command.properties == {"file": "db/migrations", "title": "no-migration"}


@pytest.mark.parametrize(
    "name", ["a,line=1.sql", "a::error::b.sql", "100%25.sql", "a\nb.sql", "a\r::error::b.sql"]
)
def test_a_name_begins_no_property_and_no_command(name: str) -> None:
    [command] = commands(Linted(findings=(replace(REWRITE, file=name),), files=1))
    assert command.properties["file"] == f"db/migrations/{name}"


@settings(max_examples=50, deadline=None)
@given(hostile)
def test_whatever_is_said_is_read_as_it_was(outcome: Linted) -> None:
    outcome = readable(outcome)
    given_back = commands(outcome)
    assert len(given_back) == len(outcome.findings) + len(outcome.notes)
    kinds = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
    for command, finding in zip(given_back, outcome.findings, strict=False):
        assert command.name == kinds[finding.severity]
        assert command.properties["file"] == PLACE.path(finding.file)
        assert command.properties["title"] == finding.rule
        assert command.data == "\n".join([finding.message, *details(finding)])
        assert ("line" in command.properties) == bool(finding.line)
        if "col" in command.properties:
            assert command.properties.get("endLine", "") in ("", str(finding.line))
    assert [command.data for command in given_back[len(outcome.findings) :]] == list(outcome.notes)
