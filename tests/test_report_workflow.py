"""Every end of a task: its exit code, its words, and the one JSON object."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import Ended, Project, make_project

TASKS = """\
import os
import signal

from invoke.collection import Collection

from headwater.errors import LockBusy
from headwater.report import say
from headwater.report.workflow import task, with_full_names


@task
def end(c, json=False, format="text"):
    {body}


namespace = with_full_names(Collection(Collection("db", end)))
"""
CANARY = "canary"


def ended(root: Path, body: str, *, code: int, json: bool = False) -> Ended:
    """Run a task with this body, and require its exit code."""
    project = Project(root)
    project.write({"tasks.py": TASKS.format(body=body)})
    return project.invoke(f"db.end{' --json' if json else ''}", code=code)


ENDS = pytest.mark.parametrize(
    ("body", "name", "code"),
    [
        pytest.param("raise RuntimeError('why')", "bug", 70, id="bug"),
        pytest.param("raise KeyboardInterrupt", "interrupted", 130, id="ctrl-c"),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)", "terminated", 143, id="sigterm"),
        pytest.param("raise LockBusy('why')", "lock-busy", 5, id="error"),
    ],
)


@ENDS
def test_every_end_is_one_json_object(tmp_path: Path, body: str, name: str, code: int) -> None:
    form = ended(tmp_path, body, code=code, json=True).json
    assert (form["ok"], form["task"], form["error"]["code"]) == (False, "db.end", name)
    assert set(form["error"]) == {"code", "message", "detail", "hint"}
    assert form["error"]["message"]


@pytest.mark.parametrize(("flags", "printed"), [("--format json", True), ("--format sarif", False)])
def test_an_error_is_json_as_well_where_json_is_the_format(
    tmp_path: Path, flags: str, printed: bool
) -> None:
    project = Project(tmp_path)
    project.write({"tasks.py": TASKS.format(body="raise LockBusy('why')")})
    end = project.invoke(f"db.end {flags}", code=5)
    assert ('"code": "lock-busy"' in end.out) == printed
    assert ("error: why" in end.err) != printed


@ENDS
def test_without_json_nothing_is_on_stdout(tmp_path: Path, body: str, name: str, code: int) -> None:
    end = ended(tmp_path, body, code=code)
    assert end.out == ""
    assert end.err


def test_a_bug_says_how_to_report_it(tmp_path: Path) -> None:
    end = ended(tmp_path, "raise RuntimeError('why')", code=70, json=True)
    end.said("Traceback", "RuntimeError: why", "this is a bug of Headwater: please report")
    assert end.json["error"]["detail"] == "RuntimeError: why"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://me:{CANARY}@host/db",
        f"postgres://:{CANARY}@{CANARY}@host/db?a=b",
        f"host=h password={CANARY} user=me",
        f"host=h password='{CANARY} \\' {CANARY}' user=me",
        f"PGPASSWORD={CANARY}",
        repr({"password": f"{CANARY} {CANARY}", "user": "me"}),
    ],
)
def test_a_bug_never_shows_a_password(tmp_path: Path, text: str) -> None:
    end = ended(tmp_path, f"raise RuntimeError({text!r})", code=70, json=True)
    # Python quotes the line of tasks.py that raised; the message is what a driver might write.
    said = "".join(line for line in end.err.splitlines() if not line.startswith("    "))
    assert CANARY not in said + end.out
    end.said("RuntimeError: ", "***")


@pytest.mark.parametrize("flags", ["", " --json"])
@pytest.mark.parametrize(
    ("body", "code"),
    [("say('found')", 141), ("raise LockBusy('why')", 5), ("raise RuntimeError", 70)],
    ids=["verdict", "error", "bug"],
)
def test_a_reader_that_has_gone_never_turns_a_verdict_into_0(
    tmp_path: Path, body: str, code: int, flags: str
) -> None:
    project = Project(tmp_path)
    project.write({"tasks.py": TASKS.format(body=body)})
    runner = project.begin(f"db.end{flags}")
    assert runner.stdout is not None
    runner.stdout.close()
    runner.stdout = None
    end = project.end(runner, "db.end", code=code)
    assert "BrokenPipe" not in end.err
    assert ("Traceback" in end.err) == (code == 70)


@pytest.mark.parametrize(("wanted", "written"), [("", True), ("1", False)])
def test_what_was_compiled_is_kept_unless_somebody_wants_it_otherwise(
    tmp_path: Path, wanted: str, written: bool
) -> None:
    """Invoke itself would have every run compile all modules anew."""
    project = make_project(tmp_path / "p", {"0001_a.sql": "create schema app;"})
    cache = tmp_path / "cache"
    project.invoke("lint --all", PYTHONPYCACHEPREFIX=str(cache), PYTHONDONTWRITEBYTECODE=wanted)
    assert bool(list(cache.rglob("headwater/files/grammar.*.pyc"))) is written
