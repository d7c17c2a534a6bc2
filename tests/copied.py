"""A plugin for pytest: it sees to it that a copy of the library is tested, and notes what passed.

TESTED_COPY=folder TESTED_OUTCOMES=file PYTHONPATH=folder pytest -p tests.copied …
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import headwater
from tests import support


def pytest_configure() -> None:
    copy = Path(os.environ["TESTED_COPY"]).resolve()
    found = Path(headwater.__file__).resolve()
    if not found.is_relative_to(copy):
        raise pytest.UsageError(f"{found} is not the copy in {copy}")
    # Without its guard, a test may wait for what does not come.
    support.PATIENCE_S = 10.0


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write a line for each test that ran, or that could not: its outcome and its name."""
    if report.when == "call" or report.outcome != "passed":
        with Path(os.environ["TESTED_OUTCOMES"]).open("a", encoding="utf-8") as file:
            file.write(f"{report.when} {report.outcome} {report.nodeid}\n")
