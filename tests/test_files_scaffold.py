"""New migrations, and the first .env."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from headwater.errors import FilesError
from headwater.files.names import fault_of_version
from headwater.files.read import read_folder
from headwater.files.refusals import check
from headwater.files.scaffold import NewMigration, new_migration, write_dotenv
from tests.support import write_files

TODAY = date(2025, 10, 25)


def refusal_of(folder: Path, description: str) -> FilesError:
    """Ask for a new migration that must be refused; the folder stays as it was."""
    before = sorted(folder.iterdir())
    with pytest.raises(FilesError) as caught:
        new(folder, description)
    assert sorted(folder.iterdir()) == before
    assert caught.value.exit_code == 2
    return caught.value


def new(folder: Path, description: str) -> NewMigration:
    """Write a new migration beside those of the folder."""
    existing = read_folder(folder).migrations
    return new_migration(folder, description, today=TODAY, existing=existing)


def test_a_new_migration_has_the_date_and_the_description(tmp_path: Path) -> None:
    made = new(tmp_path, "add_project_status")
    assert made == NewMigration(
        path=tmp_path / "20251025_add_project_status.sql", version="20251025_add_project_status"
    )
    assert fault_of_version(made.version) == ""


def test_a_new_migration_begins_with_a_template_of_comments(tmp_path: Path) -> None:
    text = new(tmp_path, "add_project_status").path.read_text(encoding="utf-8")
    assert text.startswith("-- Add project status.\n")
    assert "20251025_add_project_status.down.sql" in text
    assert "invoke reset && invoke verify && invoke test" in text
    assert all(line.startswith("--") for line in text.splitlines() if line)
    assert text.endswith("\n\n")
    assert "\r" not in text


def test_a_new_migration_is_refused_until_it_is_written(tmp_path: Path) -> None:
    new(tmp_path, "add_project_status")
    [migration] = read_folder(tmp_path).migrations
    findings = check(migration)
    assert isinstance(findings, tuple)
    assert [finding.rule for finding in findings] == ["empty"]


def test_a_new_migration_may_be_read_by_whoever_the_umask_lets(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = new(tmp_path, "add_status")
    finally:
        os.umask(old)
    assert made.path.stat().st_mode & 0o777 == 0o666


def test_the_first_migration_makes_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "db" / "migrations"
    made = new_migration(folder, "init", today=TODAY, existing=())
    assert made.path.is_file()


def test_a_suffix_typed_by_habit_is_taken_off(tmp_path: Path) -> None:
    assert new(tmp_path, "add_status.sql").version == "20251025_add_status"


@pytest.mark.parametrize(
    "description",
    ["", "Add", "add status", "add-status", "../x", "a/b", "add_", "20251025_add", "0001_a", "é"],
)
def test_a_bad_description_is_refused(tmp_path: Path, description: str) -> None:
    error = refusal_of(tmp_path, description)
    assert error.message == f"{description!r} cannot be the name of a migration"
    assert error.detail.startswith("a description ")
    assert error.hint == "invoke migration.new add_project_status"


def test_a_used_description_is_refused_whatever_its_date(tmp_path: Path) -> None:
    write_files(tmp_path, {"0001_init.sql": "select 1;", "20240101_users.sql": "select 1;"})
    error = refusal_of(tmp_path, "init")
    assert error.message == "the description 'init' is already used"
    assert error.detail == "by 0001_init.sql"
    assert refusal_of(tmp_path, "users").detail == "by 20240101_users.sql"


@pytest.mark.parametrize("sort", ["file", "folder", "link"])
def test_whatever_has_the_name_is_never_written_over(tmp_path: Path, sort: str) -> None:
    path = tmp_path / "20251025_add_status.sql"
    if sort == "file":
        path.write_text("precious")
    elif sort == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FilesError) as caught:
        new_migration(tmp_path, "add_status", today=TODAY, existing=())
    assert caught.value.message == "20251025_add_status.sql cannot be written"
    assert caught.value.detail == "File exists"
    assert sort != "file" or path.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FilesError) as caught:
        new_migration(tmp_path / "file" / "migrations", "init", today=TODAY)
    assert caught.value.message == "20251025_init.sql cannot be written"


def test_a_name_that_sorts_before_another_is_told(tmp_path: Path) -> None:
    files = ("0001_init", "20251025_a", "20251025_users", "20251026_later")
    write_files(tmp_path, {f"{name}.sql": "select 1;" for name in files})
    note = new(tmp_path, "teams").note
    assert note.startswith(
        "20251025_teams sorts before 20251025_users, 20251026_later: a rebuild runs it first"
    )
    assert "give it a later date" in note


def test_a_name_that_sorts_last_needs_no_note(tmp_path: Path) -> None:
    files = ("0001_init", "20251024_zebras", "20251025_teams")
    write_files(tmp_path, {f"{name}.sql": "select 1;" for name in files})
    assert new(tmp_path, "users").note == ""


# --- .env -------------------------------------------------------------------------------------


def test_the_first_dotenv_is_the_example_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_text("# é\n# A=1\n", encoding="utf-8")
    old = os.umask(0)
    try:
        assert write_dotenv(tmp_path)
    finally:
        os.umask(old)
    assert (tmp_path / ".env").read_text(encoding="utf-8") == "# é\n# A=1\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_a_dotenv_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    write_files(tmp_path, {".env.example": "# A=1\n", ".env": "A=2\n"})
    assert not write_dotenv(tmp_path)
    assert (tmp_path / ".env").read_text() == "A=2\n"


def test_without_an_example_there_is_no_dotenv(tmp_path: Path) -> None:
    assert not write_dotenv(tmp_path)
    assert list(tmp_path.iterdir()) == []
