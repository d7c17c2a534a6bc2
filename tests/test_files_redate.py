"""A new date for a file: all of it is renamed, or nothing is."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from pathlib import Path

import pytest

from headwater.errors import FilesError
from headwater.files.lockfile import LOCK, write_lock
from headwater.files.read import read_folder
from headwater.files.redate import Redated, redate
from tests.support import write_files

TODAY = date(2026, 3, 9)
LATE = {
    "20260301_add_a.sql": "select 1;\n",
    "20260301_add_a.down.sql": "select 2;\n",
    "20260301_add_a.verify.sql": 'select true as "it is there";\n',
}
OTHERS = {"0001_init.sql": "select 0;\n", "20260302_b.sql": "select 3;\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, LATE | OTHERS)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def redated(folder: Path, version: str, applied: Collection[str] = ()) -> Redated:
    return redate(folder, version, applied=applied, today=TODAY)


def refusal(folder: Path, version: str, applied: Collection[str] = ()) -> FilesError:
    """Ask for a new date that must be refused; the folder stays as it was."""
    before = contents(folder)
    with pytest.raises(FilesError) as caught:
        redated(folder, version, applied)
    assert contents(folder) == before
    assert caught.value.exit_code == 2
    return caught.value


def test_a_file_gets_today_s_date_with_what_belongs_to_it(folder: Path) -> None:
    outcome = redated(folder, "20260301_add_a")
    assert (outcome.before, outcome.version) == ("20260301_add_a", "20260309_add_a")
    assert {(old.name, new.name) for old, new in outcome.renamed} == {
        (name, name.replace("20260301", "20260309")) for name in LATE
    }
    expected = {name.replace("20260301_add_a", "20260309_add_a"): t for name, t in LATE.items()}
    assert contents(folder) == {name: t.encode() for name, t in (expected | OTHERS).items()}
    assert read_folder(folder).findings == ()
    assert outcome.notes == ()


def test_a_suffix_typed_by_habit_is_taken_off(folder: Path) -> None:
    assert redated(folder, "20260302_b.sql").version == "20260309_b"


def test_an_applied_file_keeps_its_name(folder: Path) -> None:
    error = refusal(folder, "20260301_add_a", applied={"0001_init", "20260301_add_a"})
    assert "is applied on the target" in error.message
    assert "invoke migration.new" in error.hint
    assert redated(folder, "20260302_b", applied={"20260301_add_a"}).version == "20260309_b"


def test_a_name_that_is_taken_is_never_written_over(folder: Path) -> None:
    for name in ("20260309_add_a.sql", "20260309_add_a.down.sql", "20260309_add_a.verify.sql"):
        (folder / name).write_text("select 9;\n")
        assert refusal(folder, "20260301_add_a").message == f"{name} is there already"
        (folder / name).unlink()
    (folder / "20260309_add_a.sql").symlink_to("nowhere")
    assert "is there already" in refusal(folder, "20260301_add_a").message


def test_a_number_is_no_date(folder: Path) -> None:
    error = refusal(folder, "0001_init")
    assert error.message == "0001_init has a number, not a date"
    assert error.hint


def test_the_last_file_of_today_stays_and_one_before_it_cannot_be_helped(folder: Path) -> None:
    write_files(folder, {"20260309_m.sql": "select 4;\n"})
    assert "nothing to do" in refusal(folder, "20260309_m").message
    write_files(folder, {"20260309_n.sql": "select 5;\n"})
    error = refusal(folder, "20260309_m")
    assert error.message == "20260309_m is of today already, but sorts before 20260309_n"
    assert "by hand" in error.hint


def test_a_file_that_is_not_there_is_refused_with_names_close_to_it(folder: Path) -> None:
    assert "close to it: 20260301_add_a" in refusal(folder, "20260301_add_aa").detail
    for version in ("", "../20260301_add_a", "20260301_add_a.down", "nonsense"):
        assert refusal(folder, version).message == f"there is no {version}.sql"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="cannot be read"):
        redated(tmp_path / "nowhere", "20260301_add_a")


def test_files_that_still_sort_behind_it_are_named(folder: Path) -> None:
    write_files(folder, {"20260309_z.sql": "select 4;\n", "20260401_y.sql": "select 5;\n"})
    [note] = redated(folder, "20260301_add_a").notes
    assert note.startswith("20260309_add_a still sorts before 20260309_z, 20260401_y")


def test_a_date_that_lies_ahead_comes_back_to_today(folder: Path) -> None:
    write_files(folder, {"20260401_y.sql": "select 5;\n"})
    outcome = redated(folder, "20260401_y")
    assert (outcome.version, outcome.notes) == ("20260309_y", ())


def test_a_lock_file_that_names_it_is_left_and_told(folder: Path) -> None:
    write_lock(read_folder(folder))
    before = (folder / LOCK).read_bytes()
    outcome = redated(folder, "20260301_add_a")
    assert outcome.notes == (f"20260301_add_a stands in {LOCK}: run invoke migration.lock",)
    assert (folder / LOCK).read_bytes() == before


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("failure", [OSError(30, "Read-only file system"), KeyboardInterrupt()])
def test_when_one_file_cannot_be_renamed_all_have_their_old_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch, which: int, failure: BaseException
) -> None:
    before, rename, calls = contents(folder), Path.rename, list[str]()

    def failing(path: Path, target: Path) -> Path:
        calls.append(path.name)
        if len(calls) == which + 1:
            raise failure
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises((FilesError, KeyboardInterrupt)) as caught:
        redated(folder, "20260301_add_a")
    assert contents(folder) == before
    assert len(calls) == 2 * which + 1
    if isinstance(failure, OSError):
        assert isinstance(caught.value, FilesError)
        assert caught.value.detail == "Read-only file system"
        assert caught.value.hint == "nothing has changed"


def test_what_could_not_get_its_old_name_back_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = Path.rename, list[str]()

    def failing(path: Path, target: Path) -> Path:
        calls.append(path.name)
        if len(calls) > 1:
            raise OSError(30, "Read-only file system")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(FilesError, match="cannot be renamed") as caught:
        redated(folder, "20260301_add_a")
    assert "20260309_add_a.verify.sql should be 20260301_add_a.verify.sql" in caught.value.detail
    assert caught.value.hint == "rename them by hand"
