"""Writing a file that others may read: they find the old one or the new one, whole."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Put a file in the place of another one, or of none, in one step.

    In order: written beside it, under a name of its own, so that nothing that a killed run has left
    is in the way; brought to the disk; renamed. It keeps the mode of the file that was there (a new
    one has `mode`, or what the umask gives). Raises OSError, which names `path`; the old file is
    there then, as it was.
    """
    beside = ""
    try:
        descriptor, beside = tempfile.mkstemp(prefix=".headwater-", suffix=".new", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # What mkstemp makes is its owner's alone; git and others read this one.
        Path(beside).chmod(_mode_of(path, mode))
        Path(beside).replace(path)
    except BaseException as error:
        with suppress(OSError):
            Path(beside).unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _mode_of(path: Path, mode: int | None) -> int:
    """Give the mode that a file has, or that a new one gets."""
    with suppress(FileNotFoundError):
        return path.stat().st_mode & 0o7777
    if mode is not None:
        return mode
    umask = os.umask(0o022)
    os.umask(umask)
    return 0o666 & ~umask
