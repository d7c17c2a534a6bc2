"""A difference of two schemas in one sentence, seen from the files; and what a migration did."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from headwater.report.forms import Json, Line
from headwater.verdicts import Change, ChangeKind

# As much of a value as fits beside its object on a line, and of what is around a difference.
_LONG: Final = 60
_CONTEXT: Final = 20

# Lines that are shown around a difference of two texts, and how its lines are drawn.
_AROUND: Final = 2
_DIFF_STYLE: Final = {"-": "red", "+": "green", "@": "cyan"}


def describe(change: Change) -> str:
    """Say a change in one sentence: `column kb.tags.name: missing in the database`."""
    if change.change is ChangeKind.MISSING:
        return f"{change.object}: missing in the database"
    if change.change is ChangeKind.EXTRA:
        return f"{change.object}: in the database, not in the files"
    return f"{change.object}: {how(change)}"


_DID = {ChangeKind.MISSING: "dropped", ChangeKind.EXTRA: "created"}


def what_was_done(change: Change) -> str:
    """Say what a migration did to an object: `created`, `dropped`, `default 'a' -> 'b'`."""
    return _DID.get(change.change) or how(change)


def how(change: Change) -> str:
    """Say how an attribute changed: `default 'a' -> 'b'`; of long texts, that they differ."""
    if _is_text(change):
        return f"{change.attribute} differs"
    nothing = "(default)" if change.attribute == "grants" else "(none)"
    before, after = _shortened(change.before or nothing, change.after or nothing)
    return f"{change.attribute} {before} -> {after}"


def diff_lines(change: Change) -> Iterator[Line]:
    """Draw the difference of two long texts line by line: what the files build is taken away."""
    if not _is_text(change):
        return
    before, after = (text.splitlines() for text in (change.before or "", change.after or ""))
    for text in list(difflib.unified_diff(before, after, n=_AROUND, lineterm=""))[2:]:
        yield Line(text, _DIFF_STYLE.get(text[:1], ""))


def change_json(change: Change) -> Json:
    """Give one difference as JSON."""
    return {
        "object": change.object,
        "change": change.change.value,
        "attribute": change.attribute,
        "before": change.before,
        "after": change.after,
    }


def _is_text(change: Change) -> bool:
    """Say whether a change is one of two texts of several lines: a function, a view."""
    return bool(change.before and change.after) and "\n" in f"{change.before}{change.after}".strip()


def _shortened(before: str, after: str) -> tuple[str, str]:
    """Bring two values on one line each, cut down to where they differ if they are long."""
    mine, theirs = " ".join(before.split()), " ".join(after.split())
    if max(len(mine), len(theirs)) <= _LONG:
        return mine, theirs
    head = max(0, _common(mine, theirs) - _CONTEXT)
    tail = max(0, _common(mine[head:][::-1], theirs[head:][::-1]) - _CONTEXT)
    return _cut(mine, head, tail), _cut(theirs, head, tail)


def _common(mine: str, theirs: str) -> int:
    """Count the characters that two texts begin with alike."""
    pairs = zip(mine, theirs, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(mine), len(theirs)))


def _cut(text: str, head: int, tail: int) -> str:
    """Leave out the first `head` and the last `tail` characters, and whatever is too long."""
    middle = text[head : len(text) - tail]
    long = len(middle) > 2 * _LONG
    return ("…" if head else "") + middle[: 2 * _LONG] + ("…" if tail or long else "")
