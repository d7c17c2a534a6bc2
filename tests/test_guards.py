"""Each guard is proven: it is taken out of a copy of the code, and its test fails.

Without this, a guard may be doubled by another one, or its test may look elsewhere, and nobody
would notice when it breaks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from headwater.guards import GUARDS, Guard
from tests.faults.stride import drawn

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LIB = ROOT / "lib"
TESTS_FAILED = 1  # of pytest's exit codes; 2 to 5 say that it could not test
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Ended:
    """How pytest ended, and what each test came to: `call failed tests/test_x.py::test_y[z]`."""

    code: int
    outcomes: list[str]
    output: str

    def of(self, test: str, outcome: str) -> list[str]:
        """Give the outcomes of one kind of a test, in all its variants."""
        return [
            line
            for line in self.outcomes
            if line.split()[1] == outcome
            # A test, or one of its cases.
            and f"tests/{test}" in {(case := line.split(" ", 2)[2]), case.split("[")[0]}
        ]


def copied(to: Path) -> Path:
    shutil.copytree(LIB, to, ignore=shutil.ignore_patterns("__pycache__"))
    return to


def run_tests(copy: Path, tests: list[str], *options: str) -> Ended:
    """Run tests against a copy of the library, in a process of their own."""
    outcomes = copy.with_suffix(".outcomes")
    environment = os.environ | {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TESTED_COPY": str(copy),
        "TESTED_OUTCOMES": str(outcomes),
    }
    plugins = ["-p", "tests.copied", "-p", "no:cacheprovider", "-p", "no:randomly"]
    # They are meant to fail: nobody looks into their databases.
    plugins.append("--headwater-keep=never")
    # Below the copy: of many at once each would else remove what another one uses.
    temporary = f"--basetemp={copy.with_suffix('.tmp')}"
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", temporary, *plugins, *options]
        + [f"tests/{test}" for test in tests],
        cwd=ROOT,
        env={name: text for name, text in environment.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        timeout=SECONDS * len(tests),
        check=False,
    )
    lines = outcomes.read_text(encoding="utf-8").splitlines() if outcomes.exists() else []
    return Ended(ended.returncode, lines, ended.stdout + ended.stderr)


def test_each_guard_stands_where_the_list_says() -> None:
    wrong = [
        guard.name
        for guard in GUARDS
        if (LIB / "headwater" / guard.module).read_text(encoding="utf-8").count(guard.text) != 1
        or guard.text == guard.without
    ]
    assert wrong == []
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 45
    for field in ("name", "against", "module", "text", "test"):
        assert all(getattr(guard, field).strip() for guard in GUARDS), field


def test_a_copy_that_is_not_the_one_that_is_tested_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = run_tests(tmp_path / "empty", ["test_files_text.py"])
    assert ended.code not in {0, TESTS_FAILED}
    assert "is not the copy in" in ended.output


def test_each_guard_has_a_test_that_fails_without_it(tmp_path: Path) -> None:
    guards = drawn(GUARDS)
    named = sorted({guard.test for guard in guards})
    whole = run_tests(copied(tmp_path / "whole"), named)
    assert whole.code == 0, whole.output
    # Some need a program that may not be there (in CI that is a failure of theirs).
    possible = [guard for guard in guards if whole.of(guard.test, "passed")]
    lacking = sorted({guard.test for guard in guards if guard not in possible})
    assert all(whole.of(test, "skipped") for test in lacking), lacking

    def without(guard: Guard) -> str:
        copy = copied(tmp_path / f"without_{GUARDS.index(guard)}")
        module = copy / "headwater" / guard.module
        text = module.read_text(encoding="utf-8")
        changed = text.replace(guard.text, guard.without)
        compile(changed, module, "exec")
        module.write_text(changed, encoding="utf-8")
        ended = run_tests(copy, [guard.test], "-x")
        # It fails by what it asserts, and not because the code is no code any more.
        proven = (
            ended.code == TESTS_FAILED
            and any(line.startswith("call ") for line in ended.of(guard.test, "failed"))
            and "NameError" not in ended.output
        )
        return "" if proven else f"{guard.name}: pytest ended with {ended.code}\n{ended.output}"

    with ThreadPoolExecutor(2) as pool:
        unproven = list(filter(None, pool.map(without, possible)))
    total = len(possible)
    print(f"guards proven: {total - len(unproven)} of {total} (in the list: {len(GUARDS)})")
    if lacking:
        print(f"guards not tried, as a program is missing: {len(guards) - total}: {lacking}")
    assert not unproven, "\n\n".join(unproven)
