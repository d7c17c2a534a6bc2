"""The lock file: it makes two branches meet, and says where it is not what the folder is."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import pytest

from headwater.errors import FilesError
from headwater.files.lockfile import LOCK, LockFault, Wrong, lock_faults, lock_names, write_lock
from headwater.files.read import read_folder, read_sound_folder
from tests.repositories import Repository, made
from tests.support import write_files

FILES = {"20260301_a.sql": "select 1;\n", "20260303_c.sql": "select 3;\n"}
MIDDLE = {"20260302_b.sql": "select 2;\n"}
LAST = {"20260304_d.sql": "select 4;\n"}


def lock(folder: Path) -> None:
    write_lock(read_sound_folder(folder))


def locked(folder: Path, files: dict[str, str] = FILES) -> Path:
    """Write files and their lock file."""
    write_files(folder, files)
    lock(folder)
    return folder / LOCK


def faults(folder: Path) -> list[LockFault]:
    return list(lock_faults(read_folder(folder)))


def told(folder: Path) -> list[tuple[str, str]]:
    """Give each fault's message with the version on the line that it is told at."""
    return [(fault.message, fault.source.partition(" ")[0]) for fault in faults(folder)]


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


# --- writing ----------------------------------------------------------------------------------


def test_a_lock_file_has_a_line_for_each_migration_and_says_what_it_is(tmp_path: Path) -> None:
    path = locked(tmp_path, FILES | {"20260301_a.down.sql": "select 0;\n"})
    text = path.read_bytes()
    assert text.startswith(b"# Written by `invoke migration.lock`")
    assert b"\r" not in text
    assert text.endswith(b"\n")
    [one, two] = lines_of(path)
    # Another form would make every lock file in the world stale.
    assert one == (
        "20260301_a sha256-1:4a45092ccf992ea92250053a80b931b787924ba61648f420555511b84f10ab6c "
        "0de3aedaa4b0de6b"
    )
    assert two.startswith("20260303_c sha256-1:")
    assert faults(tmp_path) == []


def test_writing_it_again_changes_nothing_and_says_so(tmp_path: Path) -> None:
    path = locked(tmp_path)
    before = (path.read_bytes(), path.stat().st_ino)
    outcome = write_lock(read_sound_folder(tmp_path))
    assert (outcome.path, outcome.files, outcome.changed) == (path, 2, False)
    assert (path.read_bytes(), path.stat().st_ino) == before
    write_files(tmp_path, LAST)
    assert write_lock(read_sound_folder(tmp_path)).changed


def test_bytes_do_not_depend_on_line_ends_and_marks_of_a_checkout(tmp_path: Path) -> None:
    text = locked(tmp_path).read_bytes()
    (tmp_path / "20260301_a.sql").write_bytes(b"\xef\xbb\xbfselect 1;\r\n")
    assert faults(tmp_path) == []
    lock(tmp_path)
    assert (tmp_path / LOCK).read_bytes() == text
    (tmp_path / LOCK).write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    assert faults(tmp_path) == []


def test_who_may_read_it_is_decided_by_the_umask_and_then_kept(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = locked(tmp_path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o600)
    write_files(tmp_path, LAST)
    lock(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_file_that_cannot_be_written_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = locked(tmp_path)
    before = path.read_bytes()
    write_files(tmp_path, LAST)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FilesError, match="cannot be written") as caught:
        lock(tmp_path)
    assert "No space left" in caught.value.detail
    assert path.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {LOCK, *FILES, *LAST}


def test_a_folder_in_its_place_is_an_error_and_stays(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    (tmp_path / LOCK).mkdir()
    with pytest.raises(FilesError, match="cannot be written"):
        lock(tmp_path)
    [fault] = faults(tmp_path)
    assert (fault.wrong, fault.line) == (Wrong.MALFORMED, 0)
    assert {each.name for each in tmp_path.iterdir()} == {LOCK, *FILES}


# --- reading ----------------------------------------------------------------------------------


def test_a_folder_with_a_lock_file_is_sound_and_one_without_needs_none(tmp_path: Path) -> None:
    locked(tmp_path)
    assert read_folder(tmp_path).findings == ()
    (tmp_path / LOCK).unlink()
    assert faults(tmp_path) == []


def test_a_file_that_was_added_is_told_where_it_would_stand(tmp_path: Path) -> None:
    locked(tmp_path)
    write_files(tmp_path, MIDDLE | LAST)
    assert told(tmp_path) == [
        ("20260302_b.sql is not in it", "20260303_c"),
        ("20260304_d.sql is not in it", "20260303_c"),
    ]


def test_an_edit_a_removal_and_a_new_name_are_told_at_their_lines(tmp_path: Path) -> None:
    locked(tmp_path, FILES | MIDDLE)
    write_files(tmp_path, {"20260301_a.sql": "select 11;\n"})
    (tmp_path / "20260302_b.sql").unlink()
    (tmp_path / "20260303_c.sql").rename(tmp_path / "20260305_c.sql")
    found = faults(tmp_path)
    assert [fault.message for fault in found] == [
        "20260301_a.sql has changed since this was written",
        "20260302_b.sql is not in the folder any more",
        "20260303_c.sql is called 20260305_c.sql now",
    ]
    lines = (tmp_path / LOCK).read_text().split("\n")
    assert [lines[fault.line - 1] for fault in found] == [fault.source for fault in found]
    assert {fault.wrong for fault in found} == {Wrong.STALE}
    lock(tmp_path)
    assert faults(tmp_path) == []


def test_what_undoes_a_migration_may_change_without_a_new_lock(tmp_path: Path) -> None:
    locked(tmp_path, FILES | {"20260301_a.down.sql": "select 0;\n"})
    write_files(tmp_path, {"20260301_a.down.sql": "select 00;\n"})
    assert faults(tmp_path) == []


def test_a_file_that_cannot_be_read_is_not_called_gone(tmp_path: Path) -> None:
    locked(tmp_path)
    (tmp_path / "20260301_a.sql").write_bytes(b"\xff\xfe")
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    "line",
    ["by hand", "", "20260302_b", "20260302_b sha256-1:12 34", " 20260302_b"],
    ids=["words", "blank", "name", "short", "indented"],
)
def test_a_line_of_another_form_is_malformed(tmp_path: Path, line: str) -> None:
    path = locked(tmp_path)
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:-1], line, text[-1], ""]))
    [fault] = faults(tmp_path)
    assert (fault.wrong, fault.line, fault.source) == (Wrong.MALFORMED, len(text), line)


def test_a_version_that_stands_there_twice_is_malformed(tmp_path: Path) -> None:
    path = locked(tmp_path)
    path.write_text(path.read_text() + lines_of(path)[0] + "\n")
    [fault] = faults(tmp_path)
    assert fault.wrong is Wrong.MALFORMED
    assert fault.message.startswith("20260301_a stands on line ")


def test_bytes_that_are_no_text_and_links_are_malformed(tmp_path: Path) -> None:
    path = locked(tmp_path)
    path.write_bytes(b"# \xff\n")
    assert [(fault.wrong, fault.line) for fault in faults(tmp_path)] == [(Wrong.MALFORMED, 1)]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to("elsewhere")
    assert [fault.message for fault in faults(tmp_path)] == ["it is a link"]


def test_an_order_or_hash_that_does_not_follow_is_told_once_at_its_line(tmp_path: Path) -> None:
    path = locked(tmp_path, FILES | MIDDLE)
    head, lines = path.read_text().partition("20260301_a")[0], lines_of(path)
    path.write_text(head + "\n".join([lines[1], lines[0], lines[2], ""]))
    [(message, at)] = told(tmp_path)
    assert (message, at) == (
        "its hash does not follow from the lines above: it was merged by hand",
        "20260302_b",
    )
    path.write_text(head + "\n".join([*lines[:2], lines[2][:-1] + "x", ""]))
    assert [fault.wrong for fault in faults(tmp_path)] == [Wrong.MALFORMED]
    other = "0" if lines[2][-1] != "0" else "1"
    path.write_text(head + "\n".join([*lines[:2], lines[2][:-1] + other, ""]))
    [(message, at)] = told(tmp_path)
    assert at == "20260303_c"


def test_an_empty_lock_file_lacks_every_file(tmp_path: Path) -> None:
    locked(tmp_path).write_bytes(b"")
    assert [fault.message for fault in faults(tmp_path)] == [
        "20260301_a.sql is not in it",
        "20260303_c.sql is not in it",
    ]


def test_a_name_is_looked_for_whole(tmp_path: Path) -> None:
    assert not lock_names(tmp_path, "20260301_a")
    locked(tmp_path)
    assert lock_names(tmp_path, "20260301_a")
    assert not lock_names(tmp_path, "20260301")
    assert not lock_names(tmp_path, "2026030._a")


# --- two branches -----------------------------------------------------------------------------

BRANCHES = {
    "appends": LAST,
    "appends another": {"20260305_e.sql": "select 5;\n"},
    "comes late": MIDDLE,
    "comes first": {"0001_init.sql": "select 0;\n"},
    "edits": {"20260301_a.sql": "select 11;\n"},
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A main with two migrations and a lock file, and a branch for each kind of change."""
    repository = made(tmp_path)
    locked(repository.migrations)
    repository.commit()
    for name, files in BRANCHES.items():
        repository.git("checkout", "--quiet", "-b", name.replace(" ", "-"), "main")
        write_files(repository.migrations, files)
        lock(repository.migrations)
        repository.commit()
    return repository


def test_any_two_branches_that_changed_migrations_meet_in_a_conflict(
    repository: Repository,
) -> None:
    for one, other in combinations(BRANCHES, 2):
        repository.git("checkout", "--quiet", one.replace(" ", "-"))
        said = repository.git("merge", "--quiet", other.replace(" ", "-"), code=1)
        assert f"Merge conflict in migrations/{LOCK}" in said, (one, other)
        [fault] = faults(repository.migrations)
        assert fault.wrong is Wrong.CONFLICT
        assert fault.source.startswith("<<<<<<< ")
        repository.git("merge", "--abort")


@pytest.mark.parametrize("side", ["ours", "theirs", "union"])
def test_a_conflict_that_is_settled_without_the_task_is_found(
    repository: Repository, side: str
) -> None:
    for one, other in combinations(BRANCHES, 2):
        repository.git("checkout", "--quiet", one.replace(" ", "-"))
        repository.git("merge", "--quiet", other.replace(" ", "-"), code=1)
        (repository.root / "o").write_text(repository.git("show", f":2:migrations/{LOCK}"))
        (repository.root / "b").write_text(repository.git("show", f":1:migrations/{LOCK}"))
        (repository.root / "t").write_text(repository.git("show", f":3:migrations/{LOCK}"))
        repository.git("merge-file", f"--{side}", "o", "b", "t")
        (repository.root / "o").replace(repository.migrations / LOCK)
        assert faults(repository.migrations), (one, other)
        lock(repository.migrations)
        assert faults(repository.migrations) == []
        repository.git("merge", "--abort")


def test_two_branches_that_each_begin_with_a_lock_file_meet_as_well(tmp_path: Path) -> None:
    repository = made(tmp_path)
    write_files(repository.migrations, FILES)
    repository.commit()
    for name, files in (("one", MIDDLE), ("other", LAST)):
        repository.git("checkout", "--quiet", "-b", name, "main")
        write_files(repository.migrations, files)
        lock(repository.migrations)
        repository.commit()
    repository.git("merge", "--quiet", "one", code=1)
    assert [fault.wrong for fault in faults(repository.migrations)] == [Wrong.CONFLICT]
