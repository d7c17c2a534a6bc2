"""Other programs that a task runs: the tests and the checks of the code, by this very Python.

Nothing depends on PATH: each program is a module of the environment that runs us.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from headwater.report.screen import say

# What would lead a test to a database that is not its own.
_NOT_FOR_TESTS = ("DATABASE_URL", "HEADWATER_SCRATCH_URL")

CHECKS: tuple[tuple[str, ...], ...] = (
    ("-m", "ruff", "check"),
    ("-m", "ruff", "format", "--check"),
    ("-m", "mypy"),
    (str(Path(sysconfig.get_path("scripts")) / "lint-imports"),),
)


def run_tests(root: Path, arguments: str = "", *, slow: bool = False) -> int:
    """Run pytest in parallel, with nothing in its environment that names a database of a user.

    Those that are marked slow, loops of faults mostly, run when `slow` or `arguments` say so.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_FOR_TESTS and not name.startswith("PG")
    }
    given = shlex.split(arguments)
    quick = [] if slow else ["-m", "not slow"]
    # One more than there are processors: tests wait for servers now and then.
    chosen = given or ["--numprocesses", str((os.cpu_count() or 1) + 1), *quick]
    command = [sys.executable, "-m", "pytest", *chosen]
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode


def run_checks(root: Path, checks: Sequence[tuple[str, ...]] = CHECKS) -> int:
    """Run every check of the code, all of them even when one fails; give the highest exit code."""
    worst = 0
    for check in checks:
        say("$ " + " ".join(("python", *check) if check[0] == "-m" else (Path(check[0]).name,)))
        done = subprocess.run([sys.executable, *check], cwd=root, check=False)
        worst = max(worst, int(done.returncode != 0))
    return worst
