"""Files and folders of our own, whatever the umask is and whatever stands in their place.

Root's server runs as `nobody`. In a folder that nobody owns, a path may name another file a moment
later; so all of this is for folders that belong to us, and what is given away is given by its
descriptor.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from headwater.errors import PrivateServerError

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def folder_mode() -> int:
    """Give the mode of our folders: root's server, another account, must pass through root's."""
    return 0o711 if os.getuid() == 0 else 0o700


def make_folder(folder: Path) -> None:
    """Make a folder of ours and what is missing above it; one that is there gets its mode."""
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(folder_mode())


@contextmanager
def opened_folder(folder: Path) -> Generator[int]:
    """Open a folder, and never one that a link leads to, to change its owner or its mode."""
    descriptor = os.open(folder, _OPEN_FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def new_file(path: Path) -> int:
    """Make an empty file of mode 0600 in place of whatever has its name, and give it open."""
    remove(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def remove(path: Path) -> None:
    """Remove a file, a link (not what it leads to) or a folder with all that is in it, if any."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):  # the latter is macOS's for a folder
        if path.is_symlink() or not path.is_dir():
            raise
        shutil.rmtree(path)


def open_to_readers(folder: Path) -> None:
    """Let everybody read a tree of ours and run its programs, and us alone change it."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod((mode | (0o555 if stat.S_ISDIR(mode) else 0o444)) & 0o755)


@contextmanager
def file_lock(path: Path) -> Generator[None]:
    """Hold a lock among the processes of this machine; it goes with the process that holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PrivateServerError(
            "the private server's files cannot be used", detail=f"{path}: {error.strerror}"
        ) from error
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)
