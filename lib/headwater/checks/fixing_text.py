"""From treatments to texts: the file with its splices, and the files behind it.

What is not touched keeps every character. The comments directly above a statement that moves go
along; those at the very head of the file, which are its title, stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from headwater.checks.fixing_parts import (
    CannotFix,
    Edit,
    Phase,
    Piece,
    Treatment,
    spliced,
)
from headwater.files.grammar import Script, Statement
from headwater.files.names import fault_of_description, fault_of_version
from headwater.model import Directive

NO_TRANSACTION = "-- headwater: no-transaction\n"

STEPS: Mapping[Phase, str] = {
    # In the order of the alphabet, because names decide the order of files.
    Phase.OUTSIDE: "concurrently",
    Phase.BEHIND: "finish",
    Phase.VALIDATE: "validate",
}

_TITLES = {
    Phase.OUTSIDE: "indexes are built and dropped while reads and writes go on.",
    Phase.BEHIND: "what needs the indexes that were built before.",
    Phase.VALIDATE: "the rows that were there are checked while reads and writes go on.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The text of a file, and of those behind it; `undos` take their statements back."""

    file: str
    behind: Mapping[Phase, str]
    undos: Mapping[Phase, tuple[str, ...]]
    """Empty for a step that has a statement of which that is not sure."""
    gone: frozenset[str]
    """Names of what the file itself makes no more."""


def write(
    script: Script,
    treatments: Sequence[Treatment],
    *,
    title: str,
    header: Sequence[Directive] = (),
) -> Texts:
    """Write the safe sequence of one file that runs in a transaction.

    When nothing of the file stays, its first step takes its place.
    """
    leaving = {each.statement.start for each in treatments if each.leaves}
    stays = any(statement.start not in leaving for statement in script.statements)
    first = Phase.FILE if stays else min(each.first for each in treatments)
    edits = list[Edit]()
    steps = dict[Phase, list[str]]()
    for each in treatments:
        edits += _edits_of(script, each, first)
        for piece in _behind(each, first):
            sql = f"{piece.sql};"
            if each.leaves and piece is each.pieces[0]:
                sql = _with_comments(script, each.statement, sql)
            steps.setdefault(piece.phase, []).append(sql)
    text = spliced(script.text, _tidied(script.text, edits))
    if first is Phase.OUTSIDE:
        text = NO_TRANSACTION + text
    limits = [f"-- headwater: {d.name} {d.value}\n" for d in header if d.name == "lock-timeout"]
    return Texts(
        file=text,
        behind={
            phase: _file(phase, steps[phase], title, "".join(limits)) for phase in sorted(steps)
        },
        undos={phase: _undos(treatments, phase) for phase in sorted(steps)},
        gone=frozenset(
            name for each in treatments if each.leaves and each.last > first for name in each.names
        ),
    )


def write_outside(script: Script, treatments: Sequence[Treatment]) -> str:
    """Write a file without a transaction: its statements are spliced where they stand."""
    edits = list[Edit]()
    for each in treatments:
        if any(piece.phase is not Phase.OUTSIDE for piece in each.pieces):
            raise CannotFix("the file runs without a transaction: its steps are for you to write")
        edits += _edits_of(script, each, Phase.OUTSIDE)
    return spliced(script.text, edits)


def _behind(each: Treatment, first: Phase) -> Iterator[Piece]:
    return (piece for piece in each.pieces if piece.phase > first)


def _undos(treatments: Sequence[Treatment], phase: Phase) -> tuple[str, ...]:
    """Give what takes a step back, the last of it first; nothing where that is not sure."""
    pieces = [piece for each in treatments for piece in each.pieces if piece.phase is phase]
    undos = tuple(piece.undo for piece in reversed(pieces))
    return undos if all(undos) else ()


def cut_out(script: Script, statements: Iterable[Statement]) -> str:
    """Give the text of a file without some of its statements and their comments."""
    cuts = [_cut(script, statement) for statement in statements]
    return spliced(script.text, _tidied(script.text, cuts))


def _file(phase: Phase, statements: Iterable[str], title: str, limits: str) -> str:
    head = NO_TRANSACTION if phase is Phase.OUTSIDE else ""
    return f"{head}{limits}-- {title}: {_TITLES[phase]}\n\n" + "\n".join(statements) + "\n"


def _edits_of(script: Script, each: Treatment, first: Phase) -> Iterator[Edit]:
    """Give the splices of one statement, or cut it out with its comments."""
    if not each.leaves:
        yield from each.edits
        return
    here = [piece.sql for piece in each.pieces if piece.phase is first]
    statement = each.statement
    if here:
        end = statement.start + len(statement.text)
        yield Edit(start=statement.start, end=end, text=";\n".join(here))
    else:
        yield _cut(script, statement)


# --- where a statement and its comments stand -------------------------------------------------


def _with_comments(script: Script, statement: Statement, sql: str) -> str:
    """Put the comments that go along with a statement where they stood: above it, and behind it."""
    text = script.text
    above = text[_begin(script, statement) : statement.start]
    behind = _BEHIND.match(text, statement.start + len(statement.text))
    beside = f" {behind['comment']}" if behind and behind["comment"] else ""
    return f"{above}{sql}{beside}"


def _begin(script: Script, statement: Statement) -> int:
    """Find where the comments directly above a statement begin; where it does, if none do.

    Those that begin at the head of the file are its title, unless there is a blank line.
    """
    text = script.text
    begin = _start_of_line(text, statement.start)
    if text[begin : statement.start].strip():
        return statement.start
    comments = {
        comment.start: comment.start + len(comment.text)
        for comment in script.comments
        if comment.start < statement.start
    }
    found = begin
    for start in sorted(comments, reverse=True):
        alone = not text[_start_of_line(text, start) : start].strip()
        adjacent = text[comments[start] : found].strip(" \t") in ("\n", "")
        if not alone or not adjacent or "headwater:" in text[start : comments[start]]:
            break
        found = _start_of_line(text, start)
    is_title = found == 0 or (
        statement is script.statements[0]
        and text[:found].strip()
        and text[found - 2 : found] != "\n\n"
    )
    return begin if is_title else found


def _start_of_line(text: str, position: int) -> int:
    return text.rfind("\n", 0, position) + 1


_SEMICOLON = re.compile(r"\s*;?")
_BEHIND = re.compile(r"[ \t]*;?[ \t]*(?P<comment>--[^\n]*)?(?:\n|$)")


def _cut(script: Script, statement: Statement) -> Edit:
    """Cut a statement out, with its comments and its line."""
    text = script.text
    begin = _begin(script, statement)
    end = statement.start + len(statement.text)
    behind = _BEHIND.match(text, end)
    if behind is None or text[_start_of_line(text, begin) : begin].strip():
        # Something else stands on its line: only the statement and its semicolon go.
        semicolon = _SEMICOLON.match(text, end)
        return Edit(start=begin, end=semicolon.end() if semicolon else end)
    return Edit(start=_start_of_line(text, begin), end=behind.end())


def _tidied(text: str, edits: Iterable[Edit]) -> Iterator[Edit]:
    """Join cuts that touch, and let each take one of the blank lines around it along."""
    joined = list[Edit]()
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        last = joined[-1] if joined else None
        if last and last.end == edit.start and not (last.text or edit.text):
            joined[-1] = Edit(start=last.start, end=edit.end)
        else:
            joined.append(edit)
    for edit in joined:
        yield edit if edit.text else _with_blank_line(text, edit)


def _with_blank_line(text: str, cut: Edit) -> Edit:
    before = text[: cut.start]
    if before and not before.endswith("\n\n"):
        return cut
    if text.startswith("\n", cut.end):
        return Edit(start=cut.start, end=cut.end + 1)
    ends = before and cut.end == len(text)
    return Edit(start=cut.start - 1, end=cut.end) if ends else cut


# --- names ------------------------------------------------------------------------------------

_LONGEST_DESCRIPTION = 100


def name_behind(
    version: str, step: str, taken: Iterable[str], later: Iterable[str], today: str
) -> str:
    """Give the version of a step behind a file: before all that is `later`, and new.

    `taken` are the versions that there are. Raises CannotFix where no name sorts there.
    """
    prefix, _, description = version.partition("_")
    descriptions = {each.partition("_")[2] for each in taken}
    wanted = f"{description[:_LONGEST_DESCRIPTION].rstrip('_')}_{step}"
    number = 2
    while wanted in descriptions:
        wanted = f"{description[:_LONGEST_DESCRIPTION].rstrip('_')}_{step}{number}"
        number += 1
    day = prefix if len(prefix) == 8 and wanted.startswith(f"{description}_") else today
    name = f"{day}_{wanted}"
    fault = fault_of_version(name) or fault_of_description(wanted)
    between = [each for each in later if each < name]
    if fault or name <= version or between:
        why = fault or f"{', '.join(between) or version} would come after it"
        raise CannotFix(f"no name for its next step sorts right behind it ({name}: {why})")
    return name
