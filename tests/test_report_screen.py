"""Printing: what reaches a stream, and in which form."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
import time

import pytest

from headwater import model, outcomes
from headwater.model import Said, around
from headwater.report import live
from headwater.report.forms import FORMS, Line, folded
from headwater.report.live import progress
from headwater.report.screen import console, print_json, print_lines, say
from tests.support import until


def written(text: str, monkeypatch: pytest.MonkeyPatch, *, encoding: str = "utf-8") -> str:
    """Say a text on a stream of an encoding, and give what is there."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    say(text)
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_belongs_to_an_outcome_that_there_is(name: str) -> None:
    assert hasattr(model, name) or hasattr(outcomes, name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[2J\x1b[31mred", "\u241b[2J\u241b[31mred", id="escape-codes"),
        pytest.param("a\rb\x08c\x7f", "a\u240db\u2408c\u2421", id="what-moves-the-cursor"),
        pytest.param("a\x00\x07", "a\u2400\u2407", id="nul-and-bell"),
        pytest.param("a\x9b31m", "a\ufffd31m", id="escape-code-of-one-character"),
        pytest.param("a\u202eb\u2066c\u200f", "a\ufffdb\ufffdc\ufffd", id="order-of-writing"),
        pytest.param("é\t名前 \U0001f600 …\n  b", "é\t名前 \U0001f600 …\n  b", id="plain-text"),
    ],
)
def test_what_would_steer_a_terminal_is_shown_as_a_picture_of_the_same_width(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(shown) == len(text)
    assert written(text, monkeypatch) == f"{shown}\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_stream_cannot_hold_is_spelled_out(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert written("COPY …", monkeypatch, encoding=encoding) == "COPY \\u2026\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_says_the_same_on_every_stream(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    print_json({"message": "é …"})
    assert json.loads(raw.getvalue().decode(encoding)) == {"message": "é …"}
    assert (b"\\u2026" in raw.getvalue()) == (encoding != "utf-8")


@pytest.mark.parametrize(
    ("length", "column"), [(1, 1), (160, 81), (161, 1), (1000, 1), (1000, 500), (1000, 1000)]
)
def test_of_a_long_line_only_what_stands_around_the_place_is_shown(
    length: int, column: int
) -> None:
    source = "".join(chr(0x4E00 + number) for number in range(length))
    text, shown = around(source, column)
    assert text[shown - 1] == source[column - 1]
    assert len(text) <= 164
    assert (text == source) == (len(source) <= 80 + column - 1 <= 160)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_lines_that_fit_and_sql_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    console.cache_clear()
    sql = "select 'a b c d e f g h i j'"
    print_lines([Line("  of words and words and words", "red", hang=4), Line(sql)])
    console.cache_clear()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert plain == f"  of words and words\n    and words\n{sql}\n"


def test_a_stream_that_is_no_terminal_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "20")
    print_lines([Line("of words and words and words", hang=4)])
    assert stream.getvalue() == "of words and words and words\n"


def test_a_name_is_never_broken() -> None:
    assert folded(Line("see kb.a_name-that-is-long", hang=2), 10) == [
        "see",
        "  kb.a_name-that-is-long",
    ]


# --- progress ---------------------------------------------------------------------------------


def test_a_stream_that_takes_nothing_does_not_hold_up_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    paused = threading.Event()

    def show(text: str, **_: object) -> None:
        paused.wait(20)
        shown.append(text)

    monkeypatch.setattr(live, "say", show)
    with progress() as notify:
        for number in range(3):
            notify(Said(message=f"message {number}"))
        assert shown == []
        paused.set()
    assert shown == ["message 0", "message 1", "message 2"]


def test_what_rests_between_two_looks_holds_up_neither_the_first_word_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(live, "_REST_S", 30.0)
    monkeypatch.setattr(live, "say", lambda text, **_: shown.append(text))
    begun = time.monotonic()
    with progress() as notify:
        notify(Said(message="first"))
        until(lambda: shown == ["first"], "the first word")
        notify(Said(message="second"))
        notify(Said(message="third"))
    assert time.monotonic() - begun < 10
    assert shown == ["first", "second", "third"]


def test_that_nobody_reads_is_told_behind_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def show(text: str, **_: object) -> None:
        raise BrokenPipeError(text)

    done: list[str] = []

    def work() -> None:
        with progress() as notify:
            notify(Said(message="first"))
            notify(Said(message="second"))
            done.append("all")

    monkeypatch.setattr(live, "say", show)
    with pytest.raises(BrokenPipeError, match="first"):
        work()
    assert done == ["all"]


def test_what_the_work_raises_goes_before_what_showing_it_has_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def show(text: str, **_: object) -> None:
        raise BrokenPipeError(text)

    def work() -> None:
        with progress() as notify:
            notify(Said(message="first"))
            raise KeyError

    monkeypatch.setattr(live, "say", show)
    with pytest.raises(KeyError):
        work()
