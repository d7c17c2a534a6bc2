"""Runs of tests at their worst: many at once where nothing is ready, and killed at any moment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
import pytest

from tests.faults.stride import drawn
from tests.projects import Project, make_project
from tests.support import query, write_files

PYTEST = (sys.executable, "-m", "pytest", "-q")
ROLE = "headwater_testruns_app"

TESTS = """
import pytest

@pytest.mark.parametrize("number", range(40))
def test_it(connection, number):
    connection.execute("insert into app.t values (%s)", (number,))
    assert connection.execute("select count(*) from app.t").fetchone() == (1,)
    assert number % 10, "evidence"

@pytest.mark.parametrize("number", range(8))
def test_rolled_back(rolled_back_connection, number):
    rolled_back_connection.execute("insert into app.t values (%s)", (number,))

def test_earlier(database_at, session_connection, module_connection):
    database_at("0001_a")
"""


@dataclass(frozen=True, slots=True)
class Left:
    """What a machine holds."""

    databases: set[str]
    roles: set[str]
    files: set[str]


@dataclass(frozen=True)
class Machine:
    """A machine on which nothing of Headwater was ever run, with a project and its tests."""

    place: Path
    project: Project

    @property
    def environment(self) -> dict[str, str]:
        temporary = {"TMPDIR": str(self.place / "tmp"), "XDG_DATA_HOME": str(self.place / "data")}
        return self.project.environment() | temporary

    @property
    def builds(self) -> int:
        """How often the migrations were run, as the machine has counted, and no database."""
        return len((self.place / "counted/builds").read_text().splitlines())

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the tests, in a process group of their own."""
        quiet = ("-p", "no:randomly", "-p", "no:hypothesispytest", "-p", "no:cacheprovider")
        return subprocess.Popen(
            [*PYTEST, "--basetemp", f"{self.place}/base", *quiet, *arguments],
            cwd=self.project.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def runs(self, *arguments: str) -> None:
        """Run the tests to their end, which is as it should be."""
        told, _ = self.begin(*arguments).communicate(timeout=300)
        assert GOOD in told, told

    @cached_property
    def url(self) -> str:
        """Give the URL of its server, which runs."""
        return self.invoke("db.url").strip()

    def left(self) -> Left:
        """Give what is there: databases but for templates, roles, files outside the data."""
        databases = query(self.url, "select datname from pg_database where not datistemplate")
        roles = query(self.url, "select rolname from pg_roles")
        files = [
            path.relative_to(self.place)
            for folder in ("data", "tmp")
            for path in (self.place / folder).rglob("*")
            if path.is_file()
        ]
        return Left(
            databases={name for (name,) in databases if not name.startswith("headwater_template_")},
            roles={name for (name,) in roles},
            # (What the server keeps is no file of a run; answers that are kept are a cache.)
            files={
                str(path)
                for path in files
                if not {"cluster-18", "installations"} & set(path.parts) and path.suffix != ".json"
            },
        )

    def invoke(self, command: str) -> str:
        at = self.environment
        run = self.project.begin(command, TMPDIR=at["TMPDIR"], XDG_DATA_HOME=at["XDG_DATA_HOME"])
        return self.project.end(run, command, code=0).out


@contextmanager
def machine(files: dict[str, str]) -> Generator[Machine]:
    # Not pytest's tmp_path: the server of root runs as nobody, who may not pass through that.
    place = Path(tempfile.mkdtemp(prefix="headwater-testruns-"))
    try:
        for folder in (place, *(place / name for name in ("data", "tmp", "counted"))):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        (place / "counted").chmod(0o777)
        count = f"copy (select 'built') to program 'cat >> {place}/counted/builds';"
        files = {name: text.replace("COUNT;", count) for name, text in files.items()}
        project = make_project(place / "project", files)
        write_files(project.root, {"test_it.py": TESTS})
        made = Machine(place, project)
        try:
            yield made
        finally:
            made.invoke("db.destroy")
    finally:
        shutil.rmtree(place)


FILES = {
    "0001_a.sql": f"""
        create schema app; create table app.t (id int);
        do $$ begin create role {ROLE}; exception when duplicate_object then null; end $$;
        grant usage on schema app to {ROLE};
    """,
    "0002_b.sql": "COUNT; select pg_sleep(0.2); create table app.b ();",
}


GOOD = "4 failed, 45 passed"


@pytest.mark.slow
def test_eight_workers_that_start_at_once_where_nothing_is_ready_build_one_template() -> None:
    with machine(FILES) as here:
        here.runs("-n", "8")
        print(f"8 xdist workers starting at once on a cold machine: templates built {here.builds}")
        assert here.builds == 1
        here.runs("-n", "2")
        assert here.builds == 1


# --- killed -----------------------------------------------------------------------------------

Moment = Callable[[Machine, "subprocess.Popen[str]"], None]


def after(seconds: float) -> Moment:
    """Wait for so long, or until the run has ended."""

    def wait(_: Machine, run: subprocess.Popen[str]) -> None:
        with suppress(subprocess.TimeoutExpired):
            run.wait(timeout=seconds)

    return wait


def while_it_runs(statement: str) -> Moment:
    """Wait until the server runs such a statement; it must."""

    def wait(here: Machine, run: subprocess.Popen[str]) -> None:
        asked = (
            "select 1 from pg_stat_activity where state = 'active' "
            f"and query like '%{statement}%' and pid <> pg_backend_pid()"
        )
        with psycopg.connect(here.url, autocommit=True) as connection:
            while not connection.execute(asked.encode()).fetchall():
                assert run.poll() is None, f"{statement} was not met"

    return wait


def kill(here: Machine, moment: Moment, *arguments: str) -> None:
    """Start the tests, and kill all processes of the run at a moment."""
    run = here.begin(*arguments)
    try:
        moment(here, run)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


def require_nothing_left(here: Machine, before: Left) -> None:
    here.invoke("db.sweep")
    left = here.left()
    told = f"databases {left.databases - before.databases}, roles {left.roles - before.roles}, "
    told += f"files {left.files - before.files}"
    assert left == before, told


def change(here: Machine, number: int) -> None:
    """Let the template be built anew, on that of the first file."""
    path = here.project.migrations / "0002_b.sql"
    path.write_text(f"{path.read_text()}-- {number}\n")


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_nothing_after_one_sweep() -> None:
    """The short one: while it clones, and while it builds a template."""
    with machine(FILES) as here:
        here.runs()
        here.invoke("db.sweep")
        before = here.left()
        kill(here, while_it_runs('CREATE DATABASE "headwater_test_'))
        require_nothing_left(here, before)
        change(here, 1)
        kill(here, while_it_runs("pg_sleep"), "-n", "2")
        require_nothing_left(here, before)


@pytest.mark.slow
def test_runs_that_are_killed_at_any_moment_leave_nothing_after_one_sweep() -> None:
    kills = drawn(range(60))
    with machine(FILES) as here:
        begun = time.monotonic()
        here.runs("-n", "2")
        lasted = time.monotonic() - begun
        here.invoke("db.sweep")
        before = here.left()
        for number in kills:
            if number % 3 == 0:
                change(here, number)
            moment = (
                after(lasted * random.random()),
                after(lasted * random.random()),
                while_it_runs('CREATE DATABASE "headwater_'),
                while_it_runs("DROP DATABASE"),
            )[number % 4]
            kill(here, moment, *(("-n", "2") if number % 2 else ()))
            require_nothing_left(here, before)
        here.runs("-n", "2")
        print(
            f"runs killed with SIGKILL in the middle, then one sweep: {len(kills)}; "
            "databases, roles, files left: 0"
        )


@pytest.mark.slow
def test_a_first_run_that_is_killed_leaves_nothing_that_a_second_one_would_not() -> None:
    """Its server may be half made, or half started."""
    with machine(FILES) as here:
        begun = time.monotonic()
        here.runs()
        lasted = time.monotonic() - begun
        here.invoke("db.sweep")
        before = here.left()
    for _ in drawn(range(12)):
        with machine(FILES) as here:
            kill(here, after(lasted * random.random()))
            here.runs()
            here.invoke("db.sweep")
            left = here.left()
            assert left.roles == before.roles
            assert {name for name in left.databases if "template" not in name} == {
                name for name in before.databases if "template" not in name
            }
            assert {Path(name).suffix for name in left.files} <= {
                Path(name).suffix for name in before.files
            }, left.files
