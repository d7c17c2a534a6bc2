"""The README is executed: its commands stand, and its recorded run is what happens."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, copy_of_the_checkout

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]'"
RESET = f"{INSTALL} && .venv/bin/invoke reset"
TEST = f"{INSTALL} && .venv/bin/invoke test"

# Only where this version was never started before.
_UNPACKING = "unpacking PostgreSQL (once for this version)\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def recorded(block: str) -> Iterator[tuple[str, str]]:
    """Give each command of a recorded run with what it wrote; `> ` goes on with a command."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        more = 1
        while more < len(lines) and lines[more].startswith("> "):
            more += 1
        command = lines[0] + "".join(line[2:] for line in lines[1:more])
        yield command, "".join(lines[more:])


def run(project: Project, command: str) -> str:
    """Run a command as a reader would type it, and give both of its streams."""
    done = subprocess.run(
        ["bash", "-c", f'invoke() {{ "{sys.executable}" -m invoke "$@"; }}\n{command}'],
        cwd=project.root,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


def shape(output: str) -> str:
    """Give an output with every number made the same, and without what happens only once."""
    return re.sub(r"\d+", "0", output.replace(_UNPACKING, ""))


def test_the_two_commands_stand_in_the_readme_alone_in_their_block() -> None:
    assert f"{RESET}\n{TEST}\n" in blocks("")


def test_ci_runs_the_second_command_exactly_as_it_is_printed() -> None:
    assert TEST in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()


def test_a_recorded_line_fits_into_eighty_columns() -> None:
    assert [
        line for block in blocks("console") for line in block.splitlines() if len(line) > 80
    ] == []


@pytest.mark.skipif(
    importlib.util.find_spec("pg0") is None, reason="the private server is not installed"
)
def test_the_recorded_run_is_what_happens(tmp_path: Path) -> None:
    project = copy_of_the_checkout(tmp_path)
    try:
        for block in blocks("console"):
            for command, output in recorded(block):
                assert shape(run(project, command)) == shape(output), command
    finally:
        project.invoke("db.destroy")
