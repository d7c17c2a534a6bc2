"""Seeds: files with the rows that a database for development or a test begins with.

    seeds/10_people.sql     SQL that writes rows
    seeds/20_graph.py       Python with a function seed(connection)
    seeds/_names.py         what Python seeds import; other files that begin with _ are their data

They are read as migrations are: every file once, everything wrong at once, and the bytes that are
hashed are the bytes that run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path

from headwater.errors import FilesError
from headwater.files.names import MAX_LENGTH
from headwater.files.read import read_regular_file, shown_name
from headwater.files.text import normalise
from headwater.model import Finding, Seed, SeedFolder
from headwater.settings import Settings

_SEED = re.compile(r"[a-z0-9][a-z0-9_]*\.(?:sql|py)")
_HELPER = re.compile(r"_[a-z0-9_]+\.[a-z0-9]+")

# What editors, systems and Python leave in a folder, and what tells people about it: no row follows
# from that, so that it is neither read nor hashed.
_NOT_READ = ("README.md", "__pycache__")

_NAMES = (
    "a seed is NAME.sql or NAME.py, of a-z, 0-9 and _; what seeds need besides is _NAME.py or "
    "_NAME.csv"
)


def read_seeds(settings: Settings) -> SeedFolder:
    """Read the folder of seeds that the settings name.

    Where none is named and there is no `seeds` beside tasks.py, there are no seeds. Raises
    FilesError when a folder that is named is not there: a mistyped path is never "no seeds".
    """
    folder = settings.seeds_folder
    if settings.seeds is None and not folder.exists():
        return SeedFolder(path=folder)
    return read_seeds_in(folder)


def read_seeds_in(folder: Path) -> SeedFolder:
    """Read a folder of seeds: those in byte order of their names, and all that is wrong.

    Raises FilesError when the folder cannot be read.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise FilesError(
            f"the folder of seeds cannot be read: {folder}",
            detail=error.strerror or "",
            hint="set HEADWATER_SEEDS, or make the folder",
        ) from error
    reader = _Reader(folder)
    for entry in entries:
        if not entry.name.startswith(".") and entry.name not in _NOT_READ:
            reader.take(entry)
    return reader.finish()


class _Reader:
    """Collects seeds, and what they need, while the folder is walked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seeds: list[Seed] = []
        self.helpers: dict[str, str] = {}
        self.hashes: list[tuple[str, str]] = []
        self.findings: list[Finding] = []

    def take(self, entry: os.DirEntry[str]) -> None:
        """Read one entry, or note why it is no seed and nothing that a seed needs."""
        name = shown_name(entry.name)
        if entry.is_dir(follow_symlinks=False):
            self._find("bad-name", name, "only the folder of seeds itself is read, none below it")
        elif fault := _fault_of(entry.name):
            self._find("bad-name", name, fault)
        elif isinstance(raw := read_regular_file(entry.path), str):
            self._find("unreadable", name, raw)
        else:
            self._keep(name, raw)

    def _keep(self, name: str, raw: bytes) -> None:
        """Keep what was read: data as they are, and text as `normalise` gives it."""
        stem, _, suffix = name.partition(".")
        if name.startswith("_") and suffix != "py":
            self._note(name, raw)
            return
        text = normalise(raw, f"{self.folder.name}/{name}")
        if isinstance(text, Finding):
            self.findings.append(text)
            return
        self._note(name, text.encode())
        if name.startswith("_"):
            self.helpers[stem] = text
        else:
            self.seeds.append(Seed(name=name, text=text))

    def _note(self, name: str, content: bytes) -> None:
        self.hashes.append((name, hashlib.sha256(content).hexdigest()))

    def _find(self, rule: str, name: str, message: str) -> None:
        file = f"{self.folder.name}/{name}"
        self.findings.append(Finding(rule=rule, message=message, file=file))

    def finish(self) -> SeedFolder:
        """Put together what was read."""
        return SeedFolder(
            path=self.folder,
            seeds=tuple(self.seeds),
            helpers=self.helpers,
            checksum=_checksum(self.hashes) if self.seeds else "",
            findings=tuple(self.findings),
        )


def _fault_of(name: str) -> str:
    """Say what is wrong with the name of a file, or nothing."""
    if not _SEED.fullmatch(name) and not _HELPER.fullmatch(name):
        return _NAMES
    if len(name) > MAX_LENGTH:
        return f"a name has at most {MAX_LENGTH} characters"
    stem, _, suffix = name.partition(".")
    if name.startswith("_") and suffix == "py" and stem in sys.stdlib_module_names:
        return f"{stem} is a module of Python's own, and would be taken for it"
    return ""


def _checksum(hashes: list[tuple[str, str]]) -> str:
    """Give the checksum of all that rows follow from, with the version of the rule: `seeds-1:…`.

    Rule 1: SHA-256 of the names with the SHA-256 of each content (texts as `normalise` gives them),
    as JSON.
    """
    return f"seeds-1:{hashlib.sha256(json.dumps(hashes).encode()).hexdigest()}"
