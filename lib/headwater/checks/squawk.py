"""Squawk, a linter for PostgreSQL migrations, run on texts and read through its JSON.

Its traps (measured with 2.70): lines count from 0 and columns are bytes from 0; one file that is
not UTF-8 loses the whole batch; one syntax error hides the rest of its file; exit code 1 means
"found something" as well as "failed"; a configuration file is looked for upwards from the current
folder. So it gets accepted, normalised texts only, in a folder of our own with a configuration of
our own, and its answer counts only when it is JSON.

It says nothing of a `squawk-ignore` that ignores nothing. So a file that has one is read twice,
with it and without it: what it ignores is the difference.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.checks.rules import BY_ID, CHOSEN_OF_SQUAWK, UNUSED_ALLOW
from headwater.checks.rules.chosen import (
    ABOUT_WORDS,
    ADDING_FIELD_WITH_DEFAULT,
    ADDING_FOREIGN_KEY_CONSTRAINT,
    ADDING_SERIAL_PRIMARY_KEY_FIELD,
    CONSTRAINT_MISSING_NOT_VALID,
    DISALLOWED_UNIQUE_CONSTRAINT,
)
from headwater.checks.rules.rule import Rule
from headwater.checks.textual import Read
from headwater.files.grammar import Comment
from headwater.files.text import Places
from headwater.model import Finding

# Long enough for thousands of files (200 took it 10 ms); short enough to notice that it hangs.
_TIMEOUT_S = 60

_RULES_ON = ", ".join(f'"{rule.id}"' for rule in CHOSEN_OF_SQUAWK)
# Not taken, and found in nearly every file: so that the answer is no longer than the question.
_RULES_OFF = '"require-lock-timeout", "require-statement-timeout", "prefer-robust-stmts"'


@dataclass(frozen=True, slots=True, kw_only=True)
class SquawkResult:
    """What squawk found; the notes say what it could not look at, and `unread` in which files."""

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()


def run_squawk(files: Sequence[Read]) -> SquawkResult:
    """Run squawk on files as they were read: those in a transaction, and those without, apart."""
    binary = _binary()
    if binary is None:
        return _nothing_read(
            files,
            "squawk is not installed (pip install 'headwater[lint]'): its rules were not looked at",
        )
    findings, notes, unread = list[Finding](), list[str](), set[str]()
    for transactional in (True, False):
        batch = [file for file in files if file.transactional == transactional]
        if not batch:
            continue
        answer = _ask(binary, batch, transactional=transactional)
        if isinstance(answer, str):
            return _nothing_read(files, f"squawk could not be run: {answer}")
        for file, heard in zip(batch, answer, strict=True):
            if any(item.get("rule_name") == "syntax-error" for item in heard.items):
                unread.add(file.name)
                notes.append(f"squawk cannot read {file.name}: its rules were not looked at there")
            findings += _believed(file, heard)
    return SquawkResult(findings=tuple(findings), notes=tuple(notes), unread=frozenset(unread))


def _nothing_read(files: Iterable[Read], note: str) -> SquawkResult:
    return SquawkResult(notes=(note,), unread=frozenset(file.name for file in files))


def _binary() -> Path | None:
    """Find squawk beside this Python: PATH need not hold the environment."""
    for name in ("squawk", "squawk.exe"):
        path = Path(sysconfig.get_path("scripts")) / name
        if path.exists():
            return path
    return None


# --- asking -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """What squawk said of one file; `bare` of the same file without its squawk-ignore comments."""

    items: list[dict[str, Any]] = field(default_factory=list)
    bare: list[dict[str, Any]] = field(default_factory=list)


def _ask(binary: Path, batch: Sequence[Read], *, transactional: bool) -> list[_Heard] | str:
    """Ask about a batch, in one process; give an answer for each file, or why there is none."""
    heard = [_Heard() for _ in batch]
    answers = dict[str, list[dict[str, Any]]]()
    try:
        with tempfile.TemporaryDirectory(prefix="headwater-lint-", dir=_in_memory()) as folder:
            for number, (file, answer) in enumerate(zip(batch, heard, strict=True)):
                _write(folder, f"{number}.sql", file.sent)
                answers[f"{number}.sql"] = answer.items
                if file.ignores:
                    _write(folder, f"{number}.bare.sql", _IGNORE.sub("squawk ignore", file.sent))
                    answers[f"{number}.bare.sql"] = answer.bare
            _write(
                folder,
                "squawk.toml",
                f"assume_in_transaction = {str(transactional).lower()}\n"
                f"included_rules = [{_RULES_ON}]\nexcluded_rules = [{_RULES_OFF}]\n",
            )
            done = _run(binary, folder, answers)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    items = _items_of(done)
    if isinstance(items, str):
        return items
    for item in items:
        answers.get(Path(item["file"]).name, []).append(item)
    return heard


def _run(binary: Path, folder: str, names: Iterable[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [binary, "-c", "squawk.toml", "--reporter", "json", *names],
        cwd=folder,
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def _items_of(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]] | str:
    """Read what squawk answered, or say why it is no answer that is understood."""
    try:
        items = json.loads(done.stdout)
    except ValueError:
        return done.stderr.decode(errors="replace").strip().partition("\n")[0] or "no answer"
    if not isinstance(items, list) or not all(map(_is_known, items)):
        return "an unknown form of answer"
    return items


_FORM = {
    "file": str,
    "rule_name": str,
    "line": int,
    "column": int,
    "line_end": int,
    "column_end": int,
}


def _is_known(item: object) -> bool:
    return isinstance(item, dict) and all(
        isinstance(item.get(name), kind) for name, kind in _FORM.items()
    )


def _in_memory() -> str | None:
    """Give Linux's folder in memory: a thousand files on a disk take longer than squawk does."""
    return _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None


_MEMORY = "/dev/shm"


def _write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "wb") as file:  # noqa: PTH118, PTH123 - twice as quick
        file.write(text.encode())


# --- believing --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One finding of squawk with its place in characters of the file."""

    rule: Rule
    start: int
    end: int
    text: str


def _believed(file: Read, heard: _Heard) -> Iterator[Finding]:
    """Give what squawk found by the rules that we take, without what the parse tree refutes."""
    if not heard.items and not file.ignores:
        return
    sent, places = Places(file.sent), Places(file.text)
    found = list(_placed(sent, heard.items))
    for one in found:
        if not _refuted(one, file, found):
            yield _finding(one, file, places)
    yield from _unknown(heard.items, file, places)
    if file.ignores:
        hidden = set(_places_of(sent, heard.bare)) - set(_places_of(sent, heard.items))
        yield from _idle_ignores(file, hidden, places)


def _placed(sent: Places, items: Iterable[dict[str, Any]]) -> Iterator[_Place]:
    for item in items:
        rule = BY_ID.get(str(item.get("rule_name")))
        if rule is not None and rule.squawk:
            start = _offset(sent, int(item["line"]), int(item["column"]))
            end = _offset(sent, int(item["line_end"]), int(item["column_end"]))
            yield _Place(rule=rule, start=start, end=end, text=sent.text[start:end].lower())


def _offset(sent: Places, line: int, column: int) -> int:
    """Turn a line and a column in bytes, both counted from 0, into an offset in characters."""
    before = sent.line(line + 1).encode()[:column]
    return sent.start_of(line + 1) + len(before.decode(errors="ignore"))


def _refuted(one: _Place, file: Read, found: Sequence[_Place]) -> bool:
    """Say whether the tree shows that squawk is wrong, or another rule says the same better."""
    part = file.part_at(one.start)
    if part is not None:
        if part.new and one.rule.id not in ABOUT_WORDS:
            return True
        if one.rule.id in part.silenced:
            return True
        if one.rule is ADDING_FOREIGN_KEY_CONSTRAINT:
            return any(one.start <= place < one.end for place in part.no_scan)
    if one.rule is ADDING_FIELD_WITH_DEFAULT:
        return one.text.startswith("generated") or bool(_ONE_A_STATEMENT.match(one.text.strip()))
    if one.rule is CONSTRAINT_MISSING_NOT_VALID:
        better = any(other.rule in _SAY_MORE and other.end == one.end for other in found)
        return better or one.text.startswith("validate") or bool(_EXCLUDE.search(one.text))
    return False


_SAY_MORE = (
    ADDING_FOREIGN_KEY_CONSTRAINT,
    ADDING_SERIAL_PRIMARY_KEY_FIELD,
    DISALLOWED_UNIQUE_CONSTRAINT,
)
# What SQL itself names: one value for all rows, which is kept in the catalogue.
_ONE_A_STATEMENT = re.compile(
    r"(?:(?:current_|local)(?:date|time|timestamp)(?:\(\d\))?|(?:current_|session_)?user"
    r"|current_(?:role|catalog|schema))$"
)
_EXCLUDE = re.compile(r"\bexclude\s*(?:using\b|\()")


def _finding(one: _Place, file: Read, places: Places) -> Finding:
    line, column = places.of(one.start)
    part = file.part_at(one.start)
    return one.rule.finding(
        file=file.name,
        line=line,
        column=column,
        end=places.of(one.end),
        source=places.line(line),
        relation=part.relation if part else "",
    )


# --- its own ignore comments ------------------------------------------------------------------

_IGNORE = re.compile("squawk-ignore")
_NAMED = re.compile(r"squawk-ignore(?P<file>-file)?[\s:]*(?P<rules>[\w-]+(?:\s*,\s*[\w-]+)*)?")


def _places_of(sent: Places, items: Iterable[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """Give rule and line of what was found, of rules that we take."""
    return ((one.rule.id, sent.of(one.start)[0]) for one in _placed(sent, items))


def _unknown(items: Iterable[dict[str, Any]], file: Read, places: Places) -> Iterator[Finding]:
    """Find ignores of rules that squawk does not know, as it says itself."""
    for item in items:
        if item.get("rule_name") == "unused-ignore":
            line = int(item["line"]) + 1
            name = places.line(line).encode()[int(item["column"]) : int(item["column_end"])]
            yield _idle(file, line, f"{name.decode(errors='replace')}", _NO_SUCH, places)


def _idle_ignores(file: Read, hidden: set[tuple[str, int]], places: Places) -> Iterator[Finding]:
    """Find ignores of rules that we take which hid nothing."""
    for comment in file.ignores:
        said = _NAMED.search(comment.text)
        rules = re.split(r"\s*,\s*", said["rules"]) if said and said["rules"] else []
        if said and not rules and not (said["file"] and hidden):
            yield _idle(file, comment.line, "", "", places)
        lines = None if said and said["file"] else _lines_covered(comment)
        for rule in rules:
            taken = rule in BY_ID and BY_ID[rule].squawk
            used = any(rule == name and (lines is None or line in lines) for name, line in hidden)
            if taken and not used:
                yield _idle(file, comment.line, rule, "", places)


def _lines_covered(comment: Comment) -> tuple[int, int]:
    """Give the line of a comment and the one below it: squawk hides what begins there."""
    last = comment.line + comment.text.count("\n")
    return last, last + 1


_NO_SUCH = ": there is no such rule"


def _idle(file: Read, line: int, rule: str, why: str, places: Places) -> Finding:
    words = " ".join(filter(None, ("squawk-ignore", rule)))
    source = places.line(line)
    return UNUSED_ALLOW.finding(
        file=file.name,
        line=line,
        column=source.find("squawk-ignore") + 1 or 1,
        end=(line, len(source) + 1),
        source=source,
        message=f"{words} ignores nothing{why}",
    )
