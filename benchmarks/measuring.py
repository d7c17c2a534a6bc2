"""What the figures share: two sides that are taken in turns, and how they are run and printed.

Each figure is a ratio against a bare baseline measured in the same run, the sides in turns, so that
a machine whose speed changes slows both alike.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from headwater.model import Target
from headwater.postgres.connect import Connection, libpq_variables_hidden
from headwater.postgres.databases import create_database, drop_database
from headwater.postgres.installation import installation

ROOT = Path(__file__).resolve().parent.parent

Action = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure: what is measured, against what, and the ratio that is aimed at."""

    name: str
    ours: Action
    bare: Action
    target: float
    before: Action = lambda: None
    """What comes before each side, unmeasured."""
    times: int = 1
    """How many times as often as others it is measured: what takes milliseconds needs more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was said on the command line."""

    runs: int
    words: tuple[str, ...]
    tests: int
    """How many tests a generated suite has."""

    def wants(self, name: str) -> bool:
        """Say whether a figure of this name is to be measured."""
        return not self.words or any(word in name for word in self.words)


def arguments(description: str, *, runs: int, tests: int = 0) -> Given:
    """Read the command line; `runs` is the least number of runs, and the default."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--runs", type=int, default=runs)
    if tests:
        parser.add_argument("--tests", type=int, default=tests)
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    count = given.tests if tests else 0
    return Given(runs=max(given.runs, runs), words=tuple(given.words), tests=count)


def report(comparison: Comparison, runs: int) -> None:
    """Run both sides in turns, once unmeasured, and print medians, ratio and its spread.

    The ratio of the fastest turns of each side is what it is where nothing else runs: a machine
    that is shared slows what keeps several processors busy more than what waits.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for count in range(runs * comparison.times + 1):
        for action, found in zip((comparison.ours, comparison.bare), times, strict=True):
            comparison.before()
            begun = time.perf_counter()
            action()
            if count:
                found.append(time.perf_counter() - begun)
    ours, bare = map(statistics.median, times)
    ratios = [one / other for one, other in zip(*times, strict=True)]
    best = min(times[0]) / min(times[1])
    print(
        f"{ours / bare:5.2f}  (aim {comparison.target:.2f})  {comparison.name}  "
        f"[{ours * 1000:.0f} ms ÷ {bare * 1000:.0f} ms, medians of {len(ratios)}; "
        f"by turns {min(ratios):.2f} to {max(ratios):.2f}; the fastest {best:.2f}]",
        flush=True,
    )


# --- processes --------------------------------------------------------------------------------


def run(
    command: list[str],
    target: Target,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path = ROOT,
) -> str:
    """Run a program on a target, with little in its environment; give what it printed."""
    given = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "DATABASE_URL": target.conninfo,
        "PGDATABASE": "",
        "LD_LIBRARY_PATH": str(installation().folder / "lib"),
        **{name: os.environ[name] for name in ("XDG_DATA_HOME",) if name in os.environ},
        **(environment or {}),
    }
    if command[0].endswith(("psql", "pg_dump")):
        command = [*command, "-d", target.conninfo]
    ended = subprocess.run(
        command, cwd=folder, env=given, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        printed = ended.stderr + ended.stdout[-4000:]
        raise SystemExit(f"{' '.join(command[:3])} ended with {ended.returncode}:\n{printed}")
    return ended.stdout


def invoke(*arguments: str) -> list[str]:
    """Give the command of a task."""
    return [str(Path(sys.executable).parent / "invoke"), *arguments]


def psql(*, together: bool = True) -> list[str]:
    """Give the command of psql, that of the private server where it is there."""
    program = installation().program("psql")
    own = str(program) if program.exists() else shutil.which("psql") or "psql"
    return [own, "-X", "-q", *(["-1"] if together else []), "-v", "ON_ERROR_STOP=1"]


# --- databases --------------------------------------------------------------------------------


def afresh(admin: Target, database: str) -> None:
    """Make the database anew, empty."""
    with _session(admin) as connection:
        drop_database(connection, database)
        create_database(connection, database)


def drop(admin: Target, *names: str) -> None:
    """Drop databases."""
    with _session(admin) as connection:
        for name in names:
            drop_database(connection, name)


def _session(admin: Target) -> Connection:
    with libpq_variables_hidden():
        return psycopg.connect(admin.conninfo, autocommit=True)
