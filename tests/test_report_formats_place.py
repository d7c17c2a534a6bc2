"""Where findings stand, and what tells them apart from run to run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater.model import Finding, Severity
from headwater.report.formats import FORMATS, NAMES, Place, folder_in_repository, format_of
from headwater.report.formats.place import files_of, fingerprints, rules_of
from headwater.verdicts import Linted
from tests.lint_samples import BIG, DROP, EVERYTHING, NAMELESS, PLACE, REWRITE, SMALL


def one(finding: Finding) -> str:
    [fingerprint] = fingerprints([finding], PLACE)
    return fingerprint


def test_a_finding_keeps_its_fingerprint_when_lines_come_above_it() -> None:
    moved = replace(REWRITE, line=40, end_line=40, measured="now it is larger")
    assert one(moved) == one(REWRITE)


@pytest.mark.parametrize("other", ["rule", "file", "relation", "source"])
def test_what_differs_in_what_it_is_about_has_another_fingerprint(other: str) -> None:
    changed = {other: "another"}
    assert one(replace(REWRITE, **changed)) != one(REWRITE)  # type: ignore[arg-type]


def test_findings_that_are_alike_are_told_apart() -> None:
    alike = [REWRITE, replace(REWRITE, line=9), replace(REWRITE, line=12)]
    given = fingerprints(alike, PLACE)
    assert len(set(given)) == 3
    assert given[0] == one(REWRITE)


def test_a_file_is_seen_from_the_root_of_the_repository() -> None:
    assert PLACE.path(BIG) == "db/migrations/20250101_big.sql"
    assert PLACE.path("checks/a.sql") == "db/migrations/checks/a.sql"
    assert PLACE.path("") == "db/migrations"
    assert replace(PLACE, folder=".").path(BIG) == BIG


def test_the_repository_is_the_nearest_folder_with_git(tmp_path: Path) -> None:
    project = tmp_path / "services" / "kb"
    folder = project / "migrations"
    folder.mkdir(parents=True)
    assert folder_in_repository(project, folder) == "migrations"
    (tmp_path / ".git").mkdir()
    assert folder_in_repository(project, folder) == "services/kb/migrations"
    # A worktree has a file of that name.
    (project / ".git").write_text("gitdir: elsewhere\n")
    assert folder_in_repository(project, folder) == "migrations"
    assert folder_in_repository(project, Path("/elsewhere/sql")) == "/elsewhere/sql"


def test_every_file_that_is_known_is_named_once() -> None:
    assert files_of(EVERYTHING, replace(PLACE, files=("0001_first.sql", BIG))) == [
        "0001_first.sql",
        BIG,
        SMALL,
    ]


def test_rules_are_those_that_were_asked_and_those_that_found_something() -> None:
    [asked] = rules_of(Linted(findings=(DROP,), files=1), PLACE)
    place = replace(PLACE, rules=(replace(asked, why="because"),))  # type: ignore[type-var]
    rules = rules_of(Linted(findings=(DROP, NAMELESS, NAMELESS), files=1), place)
    assert [(rule.id, rule.why) for rule in rules] == [
        ("ban-drop-table", "because"),
        ("no-migration", "There is none."),
    ]


def test_the_threshold_decides_what_fails() -> None:
    place = Place(threshold=Severity.WARNING)
    assert [place.fails(each) for each in (REWRITE, DROP, NAMELESS)] == [True, True, False]


# --- names ------------------------------------------------------------------------------------


def test_the_known_formats_are_read() -> None:
    assert ("text", "json", *FORMATS) == NAMES
    assert [format_of(name) for name in NAMES] == list(NAMES)
    assert format_of("text", json=True) == format_of("json", json=True) == "json"


def test_another_format_is_refused_with_the_list_of_them() -> None:
    with pytest.raises(SettingsError, match="'yaml' is no format") as caught:
        format_of("yaml")
    assert caught.value.hint == (
        "--format takes text, json, github, gitlab, sarif, junit or markdown"
    )


def test_json_and_another_format_contradict() -> None:
    with pytest.raises(SettingsError, match="--json and --format sarif contradict"):
        format_of("sarif", json=True)
