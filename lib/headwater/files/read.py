"""From a folder to migrations: every file is read once, and everything wrong is told at once.

Every `*.sql` is a migration, a sibling of one, or a finding: a file that is silently not run is
how schemas drift apart.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from headwater.errors import FilesError
from headwater.files.directives import read_header
from headwater.files.names import fault_of_version
from headwater.files.text import MAX_BYTES, checksum, normalise
from headwater.model import Finding, Migration, MigrationFolder, SqlFile, plural

CHECKS = "checks"
SIBLINGS = ("verify", "down")


def read_folder(folder: Path) -> MigrationFolder:
    """Read the folder: migrations in order, checks, and all that is wrong.

    Raises FilesError when the folder itself is not there: a mistyped path is never "0 files".
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise FilesError(
            f"the folder of migrations cannot be read: {folder}",
            detail=error.strerror or "",
            hint="set HEADWATER_MIGRATIONS, or run `invoke migration.new NAME` to begin one",
        ) from error
    reader = _Reader(folder)
    for entry in entries:
        reader.take(entry)
    return reader.finish()


def read_sound_folder(path: Path) -> MigrationFolder:
    """Read the folder; raise FilesError with every finding, unless there is none."""
    folder = read_folder(path)
    if folder.findings:
        raise FilesError(
            f"{plural(len(folder.findings), 'problem')} in {folder.path}; nothing was run",
            findings=folder.findings,
            hint="mend the files, then run the same command again",
        )
    return folder


class _Reader:
    """Collects files by version while a folder is walked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.named: set[str] = set()
        self.texts: dict[str, str] = {}
        self.siblings: dict[tuple[str, str], str] = {}
        self.checks: list[SqlFile] = []
        self.findings: list[Finding] = []

    def take(self, entry: os.DirEntry[str]) -> None:
        """Read one entry of the folder, or note why it cannot be a migration."""
        if entry.name.lower().endswith(".sql"):
            self._take_sql(shown_name(entry.name), entry)
        elif _means_sql(entry.name):
            self._find(
                "bad-name", shown_name(entry.name), "a migration ends in .sql, and in nothing else"
            )
        elif entry.name == CHECKS and not entry.is_dir(follow_symlinks=False):
            self._find("bad-name", CHECKS, f"{CHECKS} is a folder of files, and no link to one")
        elif entry.name == CHECKS:
            self._take_checks(Path(entry.path))
        elif entry.is_dir():
            self._refuse_nested(Path(entry.path), shown_name(entry.name))

    def _take_sql(self, name: str, entry: os.DirEntry[str]) -> None:
        version, *sibling = name[: -len(".sql")].rsplit(".", 1)
        if not name.endswith(".sql") or name.startswith("."):
            self._find(
                "bad-name", name, "a migration ends in .sql, in lower case, and is not hidden"
            )
        elif sibling and sibling[0] not in SIBLINGS:
            self._find(
                "bad-name",
                name,
                "beside VERSION.sql there may be VERSION.verify.sql and VERSION.down.sql",
            )
        elif fault := fault_of_version(version):
            self._find("bad-name", name, fault)
        elif sibling:
            if (text := self._read_listed(entry, name)) is not None:
                self.siblings[version, sibling[0]] = text
        else:
            self.named.add(version)
            if (text := self._read_listed(entry, name)) is not None:
                self.texts[version] = text

    def _take_checks(self, folder: Path) -> None:
        for path in self._listed(folder, CHECKS):
            name = f"{CHECKS}/{shown_name(path.name)}"
            if _means_sql(path.name):
                self._find("bad-name", name, "a check ends in .sql, and in nothing else")
            elif not path.name.lower().endswith(".sql"):
                if path.is_dir():
                    self._refuse_nested(path, name)
            elif not path.name.endswith(".sql") or path.name.startswith("."):
                self._find(
                    "bad-name", name, "a check ends in .sql, in lower case, and is not hidden"
                )
            elif (text := self._text_of(read_regular_file(path), name)) is not None:
                self.checks.append(SqlFile(path=path, text=text))

    def _refuse_nested(self, folder: Path, name: str) -> None:
        """Name files in a folder that Headwater does not look into; it would skip them silently.

        Goes down into folders, but not through links below the first: they may lead in circles.
        """
        for path in self._listed(folder, name):
            below = f"{name}/{shown_name(path.name)}"
            if path.name.lower().endswith(".sql"):
                self._find(
                    "bad-name", below, f"only the folder itself and {CHECKS}/ are read, not {name}/"
                )
            elif path.is_dir() and not path.is_symlink():
                self._refuse_nested(path, below)

    def _listed(self, folder: Path, name: str) -> list[Path]:
        """List a folder in byte order; one that cannot be listed may hide files, and is told."""
        try:
            return sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))
        except OSError as error:
            self._find("unreadable", name, f"it cannot be listed: {error.strerror}")
            return []

    def _read_listed(self, entry: os.DirEntry[str], name: str) -> str | None:
        small = _read_small(entry)
        return self._text_of(read_regular_file(entry.path) if small is None else small, name)

    def _text_of(self, raw: bytes | str, name: str) -> str | None:
        if isinstance(raw, str):
            self._find("unreadable", name, raw)
            return None
        text = normalise(raw, name)
        if isinstance(text, Finding):
            self.findings.append(text)
            return None
        return text

    def _find(self, rule: str, file: str, message: str) -> None:
        self.findings.append(Finding(rule=rule, message=message, file=file))

    def finish(self) -> MigrationFolder:
        """Put the siblings to their migrations, and look at the names as a whole."""
        for version, kind in self.siblings:
            if version not in self.named:
                self._find(
                    "no-migration", f"{version}.{kind}.sql", f"there is no {version}.sql for it"
                )
        migrations = tuple(self._migration(version) for version in sorted(self.texts))
        self.findings += _clashes(migrations)
        return MigrationFolder(
            path=self.folder,
            migrations=migrations,
            checks=tuple(self.checks),
            findings=tuple(self.findings),
        )

    def _migration(self, version: str) -> Migration:
        text = self.texts[version]
        return Migration(
            version=version,
            text=text,
            checksum=checksum(text),
            directives=read_header(text),
            verify=self.siblings.get((version, "verify")),
            down=self.siblings.get((version, "down")),
        )


def _means_sql(name: str) -> bool:
    """Say whether a name ends in .sql but for what nobody sees: blanks, or .txt on Windows."""
    seen = name.lower().rstrip(" .\t\r\n\u00a0").removesuffix(".txt")
    return seen.endswith(".sql") and not name.lower().endswith(".sql")


def shown_name(name: str) -> str:
    """Give a file name that any output can hold: what is no text, or cannot be seen, is spelled."""
    if name.isascii() and name.isprintable():
        return name
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# O_NONBLOCK: opening a FIFO must not hang. Not every system has each of them.
_FLAGS = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _FLAGS |= getattr(os, _flag, 0)

_PIECE_BYTES = 32 * 1024


def read_regular_file(path: str | Path) -> bytes | str:
    """Read a plain file, or say why it is not one; never follows a link or waits for a FIFO."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if Path(path).is_symlink():
            return "it is a link"
        return f"it cannot be opened: {error.strerror}"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "it is a folder or a device, not a file"
        if status.st_size > MAX_BYTES:
            return f"it has {status.st_size:,} bytes; at most {MAX_BYTES:,} can be sent at once"
        pieces = [os.read(descriptor, _PIECE_BYTES)]
        while pieces[-1]:
            pieces.append(os.read(descriptor, _PIECE_BYTES))
        return b"".join(pieces)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)


def _read_small(entry: os.DirEntry[str]) -> bytes | None:
    """Read a file of a listing; None when it is no plain file, is not small, or cannot be read.

    Then read_regular_file reads it, or says why not: it asks what the file is, which takes as long
    as the rest of reading a small one.
    """
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        descriptor = os.open(entry.path, _FLAGS)
    except OSError:
        return None
    try:
        raw = os.read(descriptor, _PIECE_BYTES)
        is_whole = 0 < len(raw) < _PIECE_BYTES and not os.read(descriptor, 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return raw if is_whole else None


def _clashes(migrations: Iterable[Migration]) -> list[Finding]:
    """Find descriptions, and numbers without a date, that two files use."""
    findings, descriptions, numbers = [], dict[str, str](), dict[str, str]()
    for migration in migrations:
        number, _, description = migration.version.partition("_")
        earlier = descriptions.setdefault(description, migration.version)
        if earlier != migration.version:
            findings.append((migration, f"the description is already used by {earlier}.sql"))
        if len(number) != 4:
            continue
        earlier = numbers.setdefault(number, migration.version)
        if earlier != migration.version:
            findings.append((migration, f"the number {number} is already used by {earlier}.sql"))
    return [
        Finding(
            rule="name-clash",
            message=message,
            file=f"{migration.version}.sql",
            hint="rename the newer file",
        )
        for migration, message in findings
    ]
