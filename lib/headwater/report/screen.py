"""Printing: colours and wrapping in a terminal (rich), plain lines everywhere else.

rich is loaded only where there is a terminal: a script should not wait for it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from functools import cache
from typing import IO, TYPE_CHECKING, TextIO

from headwater.errors import HeadwaterError
from headwater.model import Target
from headwater.report.forms import (
    FORMS,
    Forms,
    Json,
    Line,
    error_json,
    error_lines,
    folded,
    target_json,
)

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(stream: IO[str]) -> bool:
    """Say whether a stream is a terminal that can show more than plain text."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


@cache
def console(*, stderr: bool) -> Console:
    """Give rich's console; it honours NO_COLOR and the width of the terminal by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def print_lines(lines: Iterable[Line], *, stderr: bool = False) -> None:
    """Print lines, in their styles where there is a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    if is_terminal(stream):
        from rich.text import Text

        screen = console(stderr=stderr)
        for line in lines:
            for text in folded(line, screen.width):
                screen.print(Text(_shown(text, stream), style=line.style))
    else:
        stream.writelines(f"{_shown(line.text, stream)}\n" for line in lines)
        stream.flush()


# What must not reach a terminal as it is: a line of a file may hold what clears or colours it, or
# shows text in another order than it runs. Each gets a picture of the same width, above the caret.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"}
_PICTURES |= {0x7F: 0x2421}
_PICTURES |= dict.fromkeys([*range(0x80, 0xA0), 0x61C, 0x200E, 0x200F], 0xFFFD)
_PICTURES |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)


def _shown(text: str, stream: TextIO) -> str:
    """Give a text as a stream can show it: pictures, and escapes for what it cannot hold."""
    encoding = stream.encoding or "utf-8"
    return text.translate(_PICTURES).encode(encoding, "backslashreplace").decode(encoding)


def say(text: str, *, style: str = "", stderr: bool = False) -> None:
    """Print one line."""
    print_lines([Line(text, style)], stderr=stderr)


def print_json(form: Json) -> None:
    """Print the one JSON object of a task, and nothing else, on stdout."""
    # Where a stream holds no UTF-8, JSON's own escapes say the same.
    plain = (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8"
    sys.stdout.write(_dumped(form, ensure_ascii=plain))
    sys.stdout.flush()


def _dumped(form: Json, *, ensure_ascii: bool) -> str:
    return json.dumps(form, ensure_ascii=ensure_ascii, indent=2) + "\n"


def show_target(target: Target, *, json: bool) -> None:
    """Name the target; with JSON it stands in the object instead."""
    if not json:
        say(f"target: {target}", style="dim")


def _forms_of(outcome: object) -> Forms:
    """Give the two forms of an outcome; those of lint and verify are loaded when they are used."""
    name = type(outcome).__name__
    if name in FORMS:
        return FORMS[name]
    from headwater.report import judged

    return judged.FORMS[type(outcome)]


def show(
    task: str, outcome: object, *, json: bool, target: Target | None = None, ok: bool = True
) -> None:
    """Show what a task did or found: lines for people, or the one JSON object."""
    if json:
        print_json(_object(task, outcome, target=target, ok=ok))
    else:
        print_lines(_forms_of(outcome)[0](outcome))


def json_of(task: str, outcome: object, *, target: Target | None, ok: bool) -> str:
    """Give the one JSON object of a task as it is written to a file."""
    return _dumped(_object(task, outcome, target=target, ok=ok), ensure_ascii=False)


def _object(task: str, outcome: object, *, target: Target | None, ok: bool) -> Json:
    head: Json = {"ok": ok, "task": task}
    if target is not None:
        head["target"] = target_json(target)
    return head | _forms_of(outcome)[1](outcome)


def show_fact(task: str, sentence: str, *, json: bool, **facts: object) -> None:
    """Show a small result: one sentence, or its facts as the one JSON object."""
    if json:
        print_json({"ok": True, "task": task} | facts)
    else:
        say(sentence)


def show_error(error: HeadwaterError, *, task: str, json: bool) -> None:
    """Show an error on stderr; with JSON also as the one object on stdout."""
    if json:
        print_json({"ok": False, "task": task, "error": error_json(error)})
    else:
        print_lines(error_lines(error), stderr=True)
        for note in getattr(error, "__notes__", []):
            say(f"  note: {note}", stderr=True)
