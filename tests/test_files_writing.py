"""Files are written whole: there is the old one or the new one, and nothing is left over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headwater.files.writing import replace_file


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_file_keeps_its_mode_and_a_new_one_has_that_of_the_umask_or_what_is_asked_for(
    tmp_path: Path,
) -> None:
    new, asked, old = (tmp_path / name for name in ("new", "asked", "old"))
    old.write_bytes(b"old")
    old.chmod(0o604)
    before = os.umask(0o027)
    try:
        replace_file(new, b"1")
        replace_file(asked, b"2", mode=0o755)
        replace_file(old, b"3", mode=0o755)
    finally:
        os.umask(before)
    assert [mode_of(path) for path in (new, asked, old)] == [0o640, 0o755, 0o604]
    assert [path.read_bytes() for path in (new, asked, old)] == [b"1", b"2", b"3"]
    assert names(tmp_path) == ["asked", "new", "old"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_a_failure_the_old_file_is_as_it_was_and_nothing_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def failing(_descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(type(error)) as caught:
        replace_file(path, b"new")
    if isinstance(caught.value, OSError):
        assert (caught.value.errno, caught.value.filename) == (28, str(path))
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["a"])


def test_what_a_killed_run_has_left_is_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda _path: None)
        killed.setattr(Path, "replace", lambda _beside, _path: None)
        replace_file(path, b"first")
    assert len(names(tmp_path)) == 1
    replace_file(path, b"second")
    assert path.read_bytes() == b"second"


def test_a_folder_that_is_not_there_and_one_in_its_place_are_errors_that_name_the_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "gone/a", tmp_path / "folder"):
        with pytest.raises(OSError, match=r".") as caught:
            replace_file(path, b"new")
        assert caught.value.filename == str(path)
    assert names(tmp_path) == ["folder"]
