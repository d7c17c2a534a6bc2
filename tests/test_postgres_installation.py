"""The programs of PostgreSQL: ours alone to change, everybody's to read, whatever the umask is."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from headwater.errors import PrivateServerError
from headwater.postgres import installation
from headwater.postgres.installation import Account, Installation
from headwater.postgres.private_files import file_lock, make_folder, new_file, remove

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
NOBODY = 65534


@pytest.fixture
def open_folder() -> Generator[Path]:
    """A folder that every account may pass through; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="headwater-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(params=[0o000, 0o077], ids=["umask 000", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Generator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def fresh_choice() -> Generator[None]:
    installation.state_folder.cache_clear()
    yield
    installation.state_folder.cache_clear()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def stub(folder: Path, *commands: str) -> Path:
    """A pg0 that makes the essential files, and then does something else."""
    made = "18.1.0/bin", "18.1.0/share/extension"
    lines = ["#!/bin/sh", 'cd "$HOME"', "mkdir -p .pg0/installation", "cd .pg0/installation"]
    lines += [f"mkdir -p {name}" for name in made]
    lines += [f"touch 18.1.0/{name}" for name in installation._ESSENTIAL]
    path = folder / "stub"
    path.write_text("\n".join([*lines, *commands, ""]))
    path.chmod(0o755)
    return path


def test_the_programs_depend_on_no_umask(umask: None, open_folder: Path) -> None:
    folder = open_folder / "programs"
    installation._unpack(installation._pg0_binary(), folder)
    paths = [folder, *folder.rglob("*")]
    assert len(paths) > 1000
    assert [path for path in paths if not path.is_symlink() and mode(path) & 0o022] == []
    assert {path.lstat().st_uid for path in paths} == {os.getuid()}
    programs = Installation(folder=folder, version="18")
    done = installation.server_account().run(
        [programs.program("postgres"), "--version"], environment=programs.environment
    )
    assert "(PostgreSQL) 18" in done.stdout
    assert list(open_folder.glob("unpack-*")) == []


def test_what_pg0_leaves_open_to_all_is_closed(open_folder: Path) -> None:
    program = stub(open_folder, "chmod -R 0777 18.1.0", "chmod 4777 18.1.0/bin/initdb")
    installation._unpack(program, open_folder / "programs")
    assert mode(open_folder / "programs/bin") == 0o755
    assert mode(open_folder / "programs/bin/initdb") == 0o755


def test_a_version_that_is_a_link_is_not_written_through(open_folder: Path) -> None:
    precious = open_folder / "precious"
    precious.write_text("mine")
    program = stub(open_folder, f"ln -s {precious} 18.1.0/VERSION")
    installation._unpack(program, open_folder / "programs")
    assert precious.read_text() == "mine"
    assert (open_folder / "programs/VERSION").read_text() == "18.1.0"


def test_nobody_else_has_a_hand_in_the_unpacking(open_folder: Path) -> None:
    """What nobody had unpacked, nobody's other programs could change; root runs psql from it."""
    told = open_folder / "told"
    told.touch()
    told.chmod(0o666)
    program = stub(open_folder, f'id -u > {told}; stat -c "%u %a" "$HOME" >> {told}')
    installation._unpack(program, open_folder / "programs")
    assert told.read_text().split() == [str(os.getuid()), str(os.getuid()), "700"]


def test_children_have_a_umask_of_ours(umask: None) -> None:
    account = Account(uid=os.getuid(), gid=os.getgid(), switch=False)
    assert account.run(["/bin/sh", "-c", "umask"], environment={}).stdout.strip() == "0022"


# --- where it lives ---------------------------------------------------------------------------


def test_the_state_folder_depends_on_no_umask(
    umask: None, fresh_choice: None, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_folder if os.getuid() == 0 else open_folder / "missing/share"
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    folder = installation.state_folder()
    assert folder == data / "headwater"
    wanted = 0o711 if os.getuid() == 0 else 0o700
    assert (mode(folder), mode(folder.parent)) == (wanted, wanted)


@as_root
@pytest.mark.parametrize("fault", ["somebody's", "open to all", "below somebody's", "sticky"])
def test_root_keeps_nothing_where_somebody_else_could_change_it(
    fresh_choice: None, open_folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    data = open_folder / "data"
    data.mkdir(mode=0o755)
    if fault == "somebody's":
        os.chown(data, NOBODY, NOBODY)
    elif fault == "below somebody's":
        os.chown(open_folder, NOBODY, NOBODY)
    else:
        data.chmod(0o777 if fault == "open to all" else 0o1777)
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    assert installation.state_folder() == Path("/var/lib/headwater")
    assert list(data.iterdir()) == []


def test_a_link_in_the_temporary_folder_is_not_followed(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (open_folder / "theirs").mkdir(mode=0o755)
    (open_folder / f"headwater-{os.getuid()}").symlink_to(open_folder / "theirs")
    monkeypatch.setattr(tempfile, "tempdir", str(open_folder))
    with pytest.raises(PrivateServerError):
        installation._temporary_state_folder()
    assert mode(open_folder / "theirs") == 0o755


@as_root
def test_somebody_elses_temporary_folder_is_not_used(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = open_folder / "headwater-0"
    theirs.mkdir(mode=0o755)
    os.chown(theirs, NOBODY, NOBODY)
    monkeypatch.setattr(tempfile, "tempdir", str(open_folder))
    with pytest.raises(PrivateServerError, match="belongs to somebody else"):
        installation._temporary_state_folder()
    assert mode(theirs) == 0o755


# --- files of our own -------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["nothing", "file", "link", "folder"])
def test_a_new_file_takes_the_place_of_anything(umask: None, tmp_path: Path, before: str) -> None:
    path, precious = tmp_path / "file", tmp_path / "precious"
    precious.write_text("mine")
    if before == "file":
        path.write_text("old")
    elif before == "link":
        path.symlink_to(precious)
    elif before == "folder":
        (path / "inner").mkdir(parents=True)
    os.close(new_file(path))
    assert (path.read_text(), mode(path), path.is_symlink()) == ("", 0o600, False)
    assert precious.read_text() == "mine"


def test_a_linked_folder_is_removed_as_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove(tmp_path / "link")
    remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept/inner").exists()


def test_a_lock_that_is_a_folder_is_told(tmp_path: Path) -> None:
    make_folder(tmp_path / "lock")
    with pytest.raises(PrivateServerError, match="cannot be used"), file_lock(tmp_path / "lock"):
        pass


@as_root
def test_what_is_given_to_the_account_is_the_open_file(open_folder: Path) -> None:
    """The name may mean root's own file by the time it is given away."""
    account = installation.server_account()
    precious, name = open_folder / "precious", open_folder / "log"
    precious.touch()
    descriptor = new_file(name)
    name.rename(open_folder / "moved")
    name.symlink_to(precious)
    account.own(descriptor)
    os.close(descriptor)
    assert precious.stat().st_uid == 0
    assert (open_folder / "moved").stat().st_uid == account.uid
