"""Lint of the files that are named, as a program of its own: `headwater-lint FILES…`.

For pre-commit (`.pre-commit-hooks.yaml`), which installs programs and hands them what is about to
be committed. The text layer alone: no server, no settings, no Invoke, so that a commit waits for
nothing. Each file's folder is read whole, for what a file means depends on those beside it; what is
found counts where it is in the files that were named, or in the lock file beside them.

The exit codes are those of the tasks: 0 clean, 1 found, 2 refused, 70 a bug, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from headwater import report
from headwater.checks.linting import lint, severity
from headwater.errors import FilesError, HeadwaterError
from headwater.files.lockfile import LOCK
from headwater.files.read import CHECKS, SIBLINGS, read_folder, shown_name
from headwater.files.sentences import read_sentences
from headwater.model import Finding, SqlFile
from headwater.verdicts import Linted

BUG = 70
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Lint the files on the command line, print what was found, and give the exit code."""
    given = _read_arguments(arguments)
    try:
        threshold = severity(given.fail_on)
        outcome = lint_files(given.files)
        report.show("lint", outcome, json=False)
        return outcome.exit_code(threshold)
    except HeadwaterError as error:
        from headwater.report.screen import show_error

        show_error(error, task="headwater-lint", json=False)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - 1 would say that something was found
        sys.excepthook(*sys.exc_info())
        return BUG


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="headwater-lint",
        description="Find what would hurt in production, in these files of a folder of migrations.",
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument(
        "--fail-on",
        default="error",
        metavar="SEVERITY",
        help="exit with 1 from this severity on: info, warning or error (default: error)",
    )
    return parser.parse_args(arguments)


def lint_files(paths: Iterable[Path]) -> Linted:
    """Lint files by the folders of migrations that they are in. No file: nothing is looked at.

    Raises FilesError for a path that is no file, or that can be no part of such a folder.
    """
    named = defaultdict[Path, set[str]](set)
    for path in paths:
        _require_part(path)
        folder = path.parent.parent if path.parent.name == CHECKS else path.parent
        named[folder].add(path.relative_to(folder).as_posix())
    parts = [_lint_in(folder, names) for folder, names in sorted(named.items())]
    return Linted(
        findings=tuple(finding for part in parts for finding in part.findings),
        files=sum(map(len, named.values())),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _require_part(path: Path) -> None:
    """Refuse what would be looked at in vain: that must not read as "nothing found"."""
    if path.is_dir():
        fault = f"{path} is a folder"
    elif not os.path.lexists(path):
        fault = f"there is no file {path}"
    elif path.name != LOCK and not path.name.lower().endswith(".sql"):
        fault = f"{path} is no file of a folder of migrations"
    else:
        return
    raise FilesError(
        fault, hint="name the files themselves, such as: headwater-lint migrations/*.sql"
    )


def _lint_in(place: Path, names: set[str]) -> Linted:
    """Lint the files of one folder that were named, and call them as they were named."""
    folder = read_folder(place)
    linted = lint(folder, {version for name in names if (version := _version_of(name))})
    checks = (check for check in folder.checks if f"{CHECKS}/{check.path.name}" in names)
    found = [*linted.findings, *(f for c in checks for f in _findings_of_check(c))]
    counted = {shown_name(name) for name in names} | {LOCK}
    findings = (replace(f, file=str(place / f.file)) for f in found if f.file in counted)
    return replace(linted, findings=tuple(findings))


def _version_of(name: str) -> str:
    """Give the version that a migration or a sibling of one belongs to; nothing for a check."""
    stem = name.removesuffix(".sql")
    for sibling in SIBLINGS:
        stem = stem.removesuffix(f".{sibling}")
    return "" if "/" in name or stem == name else stem


def _findings_of_check(check: SqlFile) -> tuple[Finding, ...]:
    return read_sentences(check.text, f"{CHECKS}/{check.path.name}").findings


if __name__ == "__main__":
    sys.exit(main())
