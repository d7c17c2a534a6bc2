"""Writing a fix: new files first, then those that are replaced; all of it, or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from headwater.errors import FilesError
from headwater.files.read import read_regular_file
from headwater.files.text import normalise
from headwater.files.writing import replace_file
from headwater.model import MigrationFolder
from headwater.verdicts import Fixes

_BOM = b"\xef\xbb\xbf"


def write_fixes(folder: MigrationFolder, fixes: Fixes) -> None:
    """Write the files of a fix: new ones, which must not be there, then replaced ones.

    A replaced file keeps its byte-order mark, its line ends and its mode. Raises FilesError, and
    leaves the folder as it was, when a file has changed since it was read or cannot be written.
    """
    texts = _texts_of(folder)
    undo = list[Callable[[], object]]()
    try:
        ready = [
            (path, raw, _encoded(raw, file.text, file.name))
            for file in fixes.replaced
            for path, raw in [_unchanged(folder.path / file.name, texts[file.name])]
        ]
        for file in fixes.added:
            path = folder.path / file.name
            _write_new(path, file.text.encode(), undo)
        for path, raw, new in ready:
            _replace(path, raw, new, undo)
    except BaseException as error:
        for step in reversed(undo):
            with suppress(OSError):
                step()
        if isinstance(error, OSError):
            raise FilesError(
                f"{Path(error.filename or folder.path).name} cannot be written; nothing was fixed",
                detail=error.strerror or "",
            ) from error
        raise


def _texts_of(folder: MigrationFolder) -> dict[str, str]:
    texts = dict[str, str]()
    for migration in folder.migrations:
        texts[f"{migration.version}.sql"] = migration.text
        if migration.down is not None:
            texts[f"{migration.version}.down.sql"] = migration.down
    return texts


def _unchanged(path: Path, text: str) -> tuple[Path, bytes]:
    """Read a file again; raise when it is not what was fixed and proved."""
    raw = read_regular_file(path)
    if isinstance(raw, str) or normalise(raw, path.name) != text:
        raise FilesError(
            f"{path.name} has changed meanwhile; nothing was fixed",
            detail=raw if isinstance(raw, str) else "",
            hint="run the same command again",
        )
    return path, raw


def _encoded(raw: bytes, text: str, name: str) -> bytes:
    """Write a text as the file before it was written: byte-order mark, line ends."""
    mark = _BOM if raw.startswith(_BOM) else b""
    windows = raw.count(b"\r\n")
    if windows and windows != raw.count(b"\n"):
        raise FilesError(
            f"{name} has line ends of two sorts; nothing was fixed",
            hint="save it with one sort, then run the same command again",
        )
    return mark + (text.replace("\n", "\r\n") if windows else text).encode()


def _write_new(path: Path, raw: bytes, undo: list[Callable[[], object]]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    undo.append(path.unlink)
    with open(descriptor, "wb") as file:  # noqa: PTH123
        file.write(raw)


def _replace(path: Path, old: bytes, new: bytes, undo: list[Callable[[], object]]) -> None:
    """Put a new file in the place of an old one, in one step."""
    replace_file(path, new)
    undo.append(lambda: replace_file(path, old))
