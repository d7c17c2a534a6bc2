"""The project that tests are about: found from where pytest runs, and read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headwater.errors import FilesError, SettingsError
from headwater.testing.project import find_project, read_project
from tests.support import write_files
from tests.tenants import project_in

FILES = {"0001_a.sql": "select 1;", "0002_b.sql": "select 2;", "20260101_c.sql": "select 3;"}


@pytest.mark.parametrize(
    "files",
    [
        {"headwater.toml": ""},
        {"pyproject.toml": "[tool.headwater]\n"},
        {"pyproject.toml": "\ufeff[tool.headwater]\n"},
        {"tasks.py": "", "migrations/0001_a.sql": ""},
    ],
)
def test_the_nearest_project_above_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    write_files(tmp_path, {"pyproject.toml": "[tool.headwater]\n"})
    write_files(tmp_path / "inner", files)
    below = tmp_path / "inner/tests/deep"
    below.mkdir(parents=True)
    assert find_project(below) == tmp_path / "inner"
    assert find_project(tmp_path / "inner") == tmp_path / "inner"


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": "[tool.other]\n"},
        {"pyproject.toml": "tool = 3\n"},
        {"pyproject.toml": "[tool]\n"},
        {"pyproject.toml": "this is = no [toml"},
        {"pyproject.toml/inside": ""},
        {"tasks.py": ""},
        {"migrations/0001_a.sql": ""},
        {"headwater.toml/inside": ""},
    ],
)
def test_what_is_no_project_is_passed_by(tmp_path: Path, files: dict[str, str]) -> None:
    write_files(tmp_path, {"headwater.toml": ""})
    write_files(tmp_path / "inner", files)
    assert find_project(tmp_path / "inner") == tmp_path


def test_where_there_is_no_project_the_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="no project of Headwater at /proc") as caught:
        find_project(Path("/proc"))
    assert "headwater_root" in caught.value.hint


def test_a_project_is_read_with_its_settings_and_files(tmp_path: Path) -> None:
    project_in(tmp_path, FILES)
    project = read_project(tmp_path)
    assert project.versions == ("0001_a", "0002_b", "20260101_c")
    assert project.settings.schemas == ("app",)


def test_a_folder_that_is_not_there_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FilesError) as caught:
        read_project(tmp_path / "nowhere")
    assert "nowhere" in f"{caught.value.message}{caught.value.detail}{caught.value.findings}"


def test_a_version_is_the_last_that_is_there_or_the_first_that_is_missing(tmp_path: Path) -> None:
    project = project_in(tmp_path, FILES)
    assert project.contents(at="0002_b").versions == ("0001_a", "0002_b")
    assert project.contents(at="0002_b", before=True).versions == ("0001_a",)
    assert project.contents(at="0001_a", before=True).versions == ()
    assert project.contents(at="20260101_c") == project.contents()


@pytest.mark.parametrize("version", ["", "0002", "0002_b.sql", "0003_c"])
def test_a_version_without_a_file_is_refused_with_those_that_have_one(
    tmp_path: Path, version: str
) -> None:
    with pytest.raises(SettingsError, match="there is no migration") as caught:
        project_in(tmp_path, FILES).contents(at=version)
    assert "20260101_c" in caught.value.detail


@pytest.mark.parametrize(
    "wishes",
    [
        {"before": True},
        {"empty": True, "seeded": True},
        {"empty": True, "at": "0001_a"},
        {"empty": True, "before": True},
    ],
    ids=str,
)
def test_wishes_that_contradict_each_other_are_refused(
    tmp_path: Path, wishes: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError):
        project_in(tmp_path, FILES).contents(**wishes)
