"""The servers of the tests: nothing is left of them, and one that is missing is never passed by."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import servers
from tests.conftest import without
from tests.servers import ROOT, Missing, programs
from tests.support import until

USER = """
import sys, time
from tests.servers import started
print(started(int(sys.argv[1])).host, flush=True)
time.sleep(60)
"""


def installed() -> int:
    """Give a version that is installed here."""
    for major in (15, 16, 17):
        try:
            programs(major)
        except Missing as lacking:
            missing = lacking
        else:
            return major
    without(missing)


@contextmanager
def user_of_a_server(run: str) -> Generator[tuple[subprocess.Popen[str], Path]]:
    """Start a process of a run that uses a server; give it, and the server's folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(installed())],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'lib'}", "PYTEST_XDIST_TESTRUNUID": run},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        host = process.stdout.readline().strip()
        assert host, "the server did not start"
        yield process, Path(host).parent
    finally:
        process.kill()
        process.communicate()


def processes_of(folder: Path) -> list[int]:
    """Give the processes that have a folder in their command line: a server, its keeper."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if str(folder) in text:
            found.append(int(path.parent.name))
    return found


linux = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks into /proc")


@linux
def test_a_server_is_gone_when_the_last_of_its_users_was_killed() -> None:
    run = f"t{os.getpid()}a"
    with user_of_a_server(run) as (_, folder):
        with user_of_a_server(run) as (_, same):
            assert same == folder
        assert len(processes_of(folder)) >= 2
        assert (folder / "data/postmaster.pid").exists()
    until(lambda: not folder.exists() and not processes_of(folder), "its end")


@linux
def test_what_a_killed_keeper_left_is_removed_by_the_next_run() -> None:
    with user_of_a_server(f"t{os.getpid()}b") as (process, folder):
        [keeper] = [
            pid
            for pid in processes_of(folder)
            if "tests.servers" in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        os.kill(keeper, signal.SIGKILL)
        process.kill()
        process.wait()
        assert folder.exists()
        with user_of_a_server(f"t{os.getpid()}c"):
            until(lambda: not folder.exists() and not processes_of(folder), "its end")


def test_a_server_that_is_missing_is_skipped_and_named_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "_DEBIAN", {15: "/nowhere"})
    monkeypatch.setattr(servers, "_WHEELS", {16: "no-such-package"})
    for major, how in ((15, "apt-get install postgresql-15"), (16, "pip install -e '.[servers]'")):
        with pytest.raises(Missing, match="is not installed here") as caught:
            programs(major)
        assert how in str(caught.value)
        monkeypatch.setenv("CI", "")
        with pytest.raises(pytest.skip.Exception, match="is not installed here"):
            without(caught.value)
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match="in CI nothing is skipped"):
            without(caught.value)
