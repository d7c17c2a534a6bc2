"""Where what lint found goes: stdout, a file, and what stands on stderr beside it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import SettingsError
from headwater.model import Target
from headwater.report.formats import FORMATS, formatted
from headwater.report.linting import show_linted, show_traced
from headwater.verdicts import Linted
from tests.lint_samples import EVERYTHING, PLACE, QUIET, REWRITE

SUM = "3 findings in 2 files: 1 error, 1 warning, 1 info"
TARGET = Target(host="h", port="1", database="d", user="u", source="s", conninfo="")


@dataclass(frozen=True)
class Streams:
    """Both streams of a locale, while lint is shown on them."""

    out: io.TextIOWrapper
    err: io.TextIOWrapper
    patch: pytest.MonkeyPatch

    def show(self, outcome: Linted, **how: Any) -> tuple[str, str]:
        """Show what was found, and give what is on stdout and on stderr."""
        return self.given(lambda: show_linted(outcome, **{"target": TARGET, "place": PLACE, **how}))

    def given(self, act: Callable[[], None]) -> tuple[str, str]:
        # Here and not in the fixture: pytest puts its own streams back before the test begins.
        self.patch.setattr(sys, "stdout", self.out)
        self.patch.setattr(sys, "stderr", self.err)
        act()
        return written(self.out), written(self.err)


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode("utf-8")


@pytest.fixture(params=["utf-8", "ascii"])
def streams(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Streams:
    """Give the streams of a locale with UTF-8, and of one without."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=request.param) for _ in range(2))
    return Streams(out, err, monkeypatch)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_stands_bare_on_stdout_and_the_sum_on_stderr(name: str, streams: Streams) -> None:
    outcome = Linted(findings=(REWRITE,), files=1, notes=("wo ist squawk? überall",))
    out, err = streams.show(outcome, format=name)
    assert out == formatted(outcome, name, PLACE)
    assert "1 finding in 1 file: 1 error\n" in err
    # Every note is told once: by the format, or beside it.
    assert ("berall" in out) != ("note: wo ist squawk?" in err)


def test_text_is_what_people_read(streams: Streams) -> None:
    out, err = streams.show(EVERYTHING)
    assert out.endswith(f"{SUM}\n")
    assert err == ""


def test_json_is_the_one_object_of_the_task(streams: Streams) -> None:
    out, err = streams.show(EVERYTHING, format="json")
    form = json.loads(out)
    assert (form["ok"], form["task"], form["target"]["database"]) == (False, "lint", "d")
    assert len(form["findings"]) == 3
    assert err == ""


@pytest.mark.parametrize("name", ["text", "json", *FORMATS])
def test_with_a_file_stdout_stays_empty(name: str, streams: Streams, tmp_path: Path) -> None:
    file = tmp_path / "reports" / "lint.out"
    out, err = streams.show(EVERYTHING, format=name, output=file)
    assert out == ""
    assert err.endswith(f"{SUM}; written to {file}\n")
    text = file.read_text(encoding="utf-8")
    if name == "text":
        assert text.endswith(f"{SUM}\n")
    elif name == "json":
        assert json.loads(text)["ok"] is False
    else:
        assert text == formatted(EVERYTHING, name, PLACE)


def test_a_file_that_cannot_be_written_is_refused(streams: Streams, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written: Is a directory"):
        streams.show(EVERYTHING, format="sarif", output=tmp_path)


def test_plans_are_shown_file_by_file(streams: Streams) -> None:
    out, _ = streams.given(lambda: show_traced([QUIET, QUIET]))
    assert out.count("20250102_small.sql: 1 statement") == 2
