"""The exhibits of the museum: bad inputs as data, and what must become of them.

`tests/museum/NAME/` holds `input/`, a project, and `expect.toml`: what is run in it, how that
must end, and how the database must stand afterwards. tests/museum/README.md shows the form.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

MUSEUM = Path(__file__).parent / "museum"

GROUPS = ("files", "names", "settings", "history", "database")

# The sections of the collection of failures that the exhibits come from.
SECTIONS = "ABCDEFGHIJ"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One task that is run, what is done before it, and how it must end."""

    task: str
    """What stands behind `invoke`."""
    code: int = 0
    """The exit code."""
    words: list[str] = field(default_factory=list)
    """Texts that must be in the output."""
    never: list[str] = field(default_factory=list)
    """Texts that must not be there."""
    place: str = ""
    """The place that must be told, `FILE:LINE:COLUMN` as far as there is one."""
    sql: str = ""
    """Statements that somebody else runs before."""
    meanwhile: str = ""
    """Statements of a session that stays open, in its transaction, until the run has ended."""
    write: dict[str, str] = field(default_factory=dict)
    """Files that are written before: path -> text; `@URL@` is the URL of the database."""
    remove: list[str] = field(default_factory=list)
    """Files that are removed before."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of this run; `@BARE@` is the database's URL without its parameters."""
    untouched: bool | None = None
    """Whether the database must be as it was before the run; true for the exit codes 2 and 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """How the database stands when all runs have ended."""

    recorded: list[str] | None = None
    """The versions in history."""
    tables: list[str] | None = None
    """The tables of the schema app."""
    true: list[str] = field(default_factory=list)
    """Queries that must give true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One bad input (or a good one that looks bad), with everything that must become of it."""

    name: str
    group: str
    why: str
    runs: list[Run]
    after: After
    museum: str = ""
    """Its number in the collection of failures, such as A8."""
    database: str = "unreachable"
    """`fresh`; `unreachable`, where nothing may be connected to; or `unset`."""
    make: list[list[Any]] = field(default_factory=list)
    """What a checkout cannot hold: links, pipes, odd names, bytes."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of every run."""

    @property
    def bad(self) -> bool:
        """Say whether anything of it must be refused or fail."""
        return any(run.code for run in self.runs)

    @property
    def is_refused(self) -> bool:
        """Say whether nothing at all may happen to its database."""
        return all(run.code == 2 and not run.sql and not run.meanwhile for run in self.runs)


def read_exhibit(folder: Path) -> Exhibit:
    """Read `expect.toml`; a key that nobody knows would be an expectation that nobody checks."""
    table = tomllib.loads((folder / "expect.toml").read_text(encoding="utf-8"))
    runs = [_made(Run, run, folder.name) for run in table.pop("run", [])]
    after = _made(After, table.pop("after", {}), folder.name)
    exhibit = _made(Exhibit, {**table, "name": folder.name, "runs": runs, "after": after}, "")
    assert exhibit.runs, f"{folder.name} runs nothing"
    assert exhibit.group in GROUPS, f"{folder.name}: there is no group {exhibit.group!r}"
    assert exhibit.database in ("fresh", "unreachable", "unset"), folder.name
    for run in exhibit.runs:
        said = run.code == 0 or run.words or run.place
        assert said, f"{folder.name}: a run that ends with {run.code} must say why"
    checked = after.recorded is not None or after.tables is not None or after.true
    spoken = any(run.code or run.words for run in exhibit.runs)
    assert checked or spoken, f"{folder.name} expects nothing"
    return exhibit


def _made(kind: Callable[..., T], table: Mapping[str, Any], name: str) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    assert set(table) <= known, f"{name}: unknown keys {sorted(set(table) - known)}"
    return kind(**table)


def exhibits() -> list[Exhibit]:
    """Read every exhibit, in order of name."""
    return [read_exhibit(path.parent) for path in sorted(MUSEUM.glob("*/expect.toml"))]


def set_up(exhibit: Exhibit, root: Path) -> None:
    """Copy the input of an exhibit to a folder, and make what a checkout cannot hold."""
    given = MUSEUM / exhibit.name / "input"
    if given.exists():
        shutil.copytree(given, root, symlinks=True, dirs_exist_ok=True)
    for how, path, *arguments in exhibit.make:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        _MAKERS[how](root / path, *arguments)


def _raw_name(path: Path, hexadecimal: str, text: str) -> None:
    """Write a file whose name is no text: its bytes stand behind the name of its folder."""
    name = bytes.fromhex(hexadecimal)
    path.mkdir(exist_ok=True)
    Path(os.fsdecode(os.fsencode(path) + b"/" + name)).write_text(text, encoding="utf-8")


def _big(path: Path, size: int) -> None:
    """Write a file of that many bytes, that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(size)


_MAKERS: dict[str, Callable[..., object]] = {
    "text": lambda path, text: path.write_bytes(text.encode()),
    "repeat": lambda path, text, times, end: path.write_text(text * times + end, encoding="utf-8"),
    "name": _raw_name,
    "big": _big,
    "symlink": lambda path, to: path.symlink_to(to),
    "fifo": os.mkfifo,
    "mkdir": lambda path: path.mkdir(exist_ok=True),
}
