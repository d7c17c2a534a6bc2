"""How fast test databases are, against what one would do without them, measured in the same run.

    python benchmarks/test_databases.py [--runs N] [--tests N] [WORD ...]

With words, only the figures whose name holds one of them are made. The two sides of each are taken
in turns: 3 times by default, what takes milliseconds 20 times as often. All of it happens on the
server of this checkout's tests and on the reference schema. Tests are real runs of pytest, whole
processes, with no plugin but those that they need.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from headwater.postgres.connect import libpq_variables_hidden, with_database
from headwater.postgres.makers import name_with_maker
from headwater.testing.databases import PREFIX, Database
from headwater.testing.project import read_project
from headwater.testing.servers import server_for_tests
from headwater.testing.supply import Supply
from measuring import ROOT, Comparison, Given, arguments, report, run

TESTS = 500
TESTS_THAT_LOAD = 40
WORK_MS = 20
LONGEST_WAIT_MS = 5.0


def main() -> None:
    given = arguments(__doc__, runs=3, tests=TESTS)
    with (
        tempfile.TemporaryDirectory() as folder,
        libpq_variables_hidden(),
        place(Path(folder), given.tests) as here,
    ):
        measure(here, given)


def measure(here: Place, given: Given) -> None:
    for comparison in comparisons(here):
        if given.wants(comparison.name):
            report(comparison, given.runs)
    for suite in waiting(here):
        if given.wants(suite.name):
            report_waiting(suite, given.runs)


def comparisons(here: Place) -> Iterator[Comparison]:
    yield from comparisons_with_bare_sql(here)
    yield from comparisons_with_rollback(here)
    yield from comparisons_with_pytest_postgresql(here)


# --- where it is measured ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A supply without a pool, two databases that stay, and a folder for generated tests."""

    supply: Supply
    folder: Path
    tests: int
    """How many tests a suite has."""
    template: Database
    """Nobody is ever connected to it."""
    shared: Database
    work: str
    """SQL that takes the server 20 ms of CPU."""
    _made: list[str] = field(default_factory=list)
    _open: list[psycopg.Connection] = field(default_factory=list)

    def take(self) -> None:
        """Take a database and connect to it, as a test without a pool does."""
        database = self.supply.take(self.supply.project.contents())
        self._made.append(database.name)
        self._open.append(database.connect())

    def clone(self, *options: sql.Composable) -> None:
        """Clone the template and connect to the clone, as one would without us."""
        name = name_with_maker(PREFIX)  # what is left of a killed run is swept
        self._made.append(name)
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(self.template.name)
        )
        with self.supply.cloner.connection() as connection:
            connection.execute(sql.SQL(" ").join([statement, *options]))
        target = with_database(self.supply.cloner.server, name, "benchmark")
        self._open.append(psycopg.connect(target.conninfo, autocommit=True))

    def clear(self) -> None:
        """Drop what was taken and cloned."""
        for connection in self._open:
            connection.close()
        for name in self._made:
            self.supply.cloner.drop(name)
        self._open.clear()
        self._made.clear()


@contextmanager
def place(folder: Path, tests: int) -> Generator[Place]:
    project = read_project(ROOT)
    supply = Supply(server_for_tests(project.settings), project, ahead=0)
    template, shared = (supply.take(project.contents()) for _ in range(2))
    try:
        here = Place(
            supply=supply,
            folder=folder,
            tests=tests,
            template=template,
            shared=shared,
            work=calibrated(shared, WORK_MS),
        )
        yield here
        here.clear()
    finally:
        for database in (template, shared):
            supply.give_back(database)
        supply.close()


_LOOP = "do $$ begin for i in 1..{} loop end loop; end $$"


def calibrated(database: Database, milliseconds: float) -> str:
    """Give a loop that keeps the server busy for so long, on this machine as it is now."""
    count = 1_000_000
    with database.connect() as connection:
        times = []
        for _ in range(21):
            begun = time.perf_counter()
            connection.execute(_LOOP.format(count).encode())
            times.append((time.perf_counter() - begun) * 1000)
    return _LOOP.format(round(count * milliseconds / statistics.median(times)))


# --- one database -----------------------------------------------------------------------------


def comparisons_with_bare_sql(here: Place) -> Iterator[Comparison]:
    """Compare a database without a pool with the statement that makes it, and a connection.

    The server's own strategy is what one writes; file by file is what we ask it for.
    """
    for words in ("", "STRATEGY file_copy"):
        options = (sql.SQL(words),) if words else ()
        yield Comparison(
            name=f"one, no pool ÷ CREATE DATABASE … TEMPLATE t {words}".rstrip() + ", connect",
            ours=here.take,
            bare=lambda options=options: here.clone(*options),  # type: ignore[misc]
            target=1.3,
            before=here.clear,
            times=20,
        )


# --- many tests -------------------------------------------------------------------------------

_TESTS = """\
import pytest


@pytest.mark.parametrize("number", range({count}))
def test_a_row(connection, number):
    connection.execute("insert into kb.orgs (name) values (%s)", [f"ours {{number}}"])
    connection.execute({work!r})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tests that are generated, and run as one process (or as one with workers)."""

    here: Place
    name: str
    count: int
    work: str = "select"
    conftest: str = ""
    options: tuple[str, ...] = ()

    def run(self) -> None:
        """Write the tests and run them. All of them must pass."""
        (self.here.folder / "test_rows.py").write_text(
            _TESTS.format(count=self.count, work=self.work)
        )
        (self.here.folder / "conftest.py").write_text(self.conftest)
        (self.here.folder / "pytest.ini").write_text(f"[pytest]\nheadwater_root = {ROOT}\n")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *self.options]
        ended = run(
            command,
            self.here.shared.target,
            environment=self._environment(),
            folder=self.here.folder,
        )
        if f"{self.count} passed" not in ended:
            raise SystemExit(f"not all of {self.count} tests passed:\n{ended[-4000:]}")

    def _environment(self) -> dict[str, str]:
        kept = ("TEST_DATABASE_URL",)
        return {
            "DATABASE_URL": self.here.shared.url,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # files of the same size follow each other in a second
            "BENCHMARK_URL": self.here.shared.target.conninfo,
            "BENCHMARK_TIMES": str(self.here.folder / "times"),
            **{name: os.environ[name] for name in kept if name in os.environ},
        }


_OURS = ("-p", "headwater.pytest_plugin")
_XDIST = ("-p", "xdist", "-n", "2")

_ROLLED_BACK = """\
import os

import psycopg
import pytest


@pytest.fixture(scope="session")
def session():
    with psycopg.connect(os.environ["BENCHMARK_URL"]) as connection:
        yield connection


@pytest.fixture
def connection(session):
    yield session
    session.rollback()
"""


def works(here: Place) -> Iterator[tuple[str, str]]:
    """Give what each test does besides: what it is, and its SQL."""
    yield f"that wait {WORK_MS} ms", f"select pg_sleep({WORK_MS / 1000})"
    yield f"of {WORK_MS} ms of CPU", here.work


def comparisons_with_rollback(here: Place) -> Iterator[Comparison]:
    """Compare a database for each test with one for all, in transactions that are rolled back."""
    for what, work in works(here):
        for workers in ((), _XDIST):
            name = f"{here.tests} tests {what}{', -n 2' if workers else ''}"
            ours, bare = (
                Suite(
                    here=here,
                    name=name,
                    count=here.tests,
                    work=work,
                    options=(*options, *workers),
                    conftest=conftest,
                )
                for options, conftest in ((_OURS, ""), ((), _ROLLED_BACK))
            )
            yield Comparison(
                name=f"{name}: a database each ÷ transactions rolled back",
                ours=ours.run,
                bare=bare.run,
                target=1.5,
            )


# --- how long a test waits --------------------------------------------------------------------

_TIMED = """\
import os


def pytest_runtest_logreport(report):
    if report.when == "setup":
        with open(os.environ["BENCHMARK_TIMES"], "a") as file:
            file.write(f"{report.duration}\\n")
"""


def waiting(here: Place) -> Iterator[Suite]:
    for what, work in works(here):
        name = f"waiting of a test for its `connection`, {here.tests} tests {what}"
        yield Suite(
            here=here, name=name, count=here.tests, work=work, conftest=_TIMED, options=_OURS
        )


def report_waiting(suite: Suite, runs: int) -> None:
    """Print how long the setup of a test takes that has `connection` alone."""
    medians, all_of_them = list[float](), list[float]()
    written = suite.here.folder / "times"
    for _ in range(runs):
        written.write_text("")
        suite.run()
        times = [float(line) * 1000 for line in written.read_text().split()]
        medians.append(statistics.median(times))
        all_of_them += times
    late = statistics.quantiles(all_of_them, n=20)[-1]
    print(
        f"{statistics.median(all_of_them):5.1f} ms, 95th percentile {late:.1f} ms  "
        f"(aim {LONGEST_WAIT_MS:.1f} ms)  {suite.name}  "
        f"[{runs} runs; their medians {min(medians):.1f} to {max(medians):.1f} ms, "
        f"the longest of all {max(all_of_them):.0f} ms]",
        flush=True,
    )


# --- beside pytest-postgresql -----------------------------------------------------------------

_THEIRS = """\
import os
from pathlib import Path

import pytest
from psycopg import conninfo
from pytest_postgresql import factories

schema = Path(__file__).with_name("schema.sql")
place = conninfo.conninfo_to_dict(os.environ["BENCHMARK_URL"])
where = {name: place.get(name) for name in ("host", "port", "user", "password")}
"""

_LOADED_BY_EACH = f"""\
{_THEIRS}
server = factories.postgresql_noproc(**where)
empty = factories.postgresql("server")


@pytest.fixture
def connection(empty):
    empty.execute(schema.read_bytes())
    empty.commit()
    return empty
"""

_LOADED_ONCE = f"""\
{_THEIRS}
server = factories.postgresql_noproc(**where, load=[schema])
connection = factories.postgresql("server")
"""


def comparisons_with_pytest_postgresql(here: Place) -> Iterator[Comparison]:
    """Compare with the schema loaded by each test, and with its own template.

    The `load` of pytest-postgresql fills a template once a run, which its tests clone.
    """
    if importlib.util.find_spec("pytest_postgresql") is None:
        print("not beside pytest-postgresql: pip install -e '.[bench]' would bring it", flush=True)
        return
    texts = (migration.text for migration in here.supply.project.folder.migrations)
    (here.folder / "schema.sql").write_text("\n".join(texts))
    name, count = f"{TESTS_THAT_LOAD} tests of one row", TESTS_THAT_LOAD
    ours = Suite(here=here, name=name, count=count, options=_OURS)
    for how, conftest, target in (
        ("the schema loaded by each test", _LOADED_BY_EACH, 0.2),
        ("`load` once, clones", _LOADED_ONCE, 1.0),
    ):
        theirs = Suite(
            here=here,
            name=name,
            count=count,
            conftest=conftest,
            options=("-p", "pytest_postgresql.plugin"),
        )
        yield Comparison(
            name=f"{name} ÷ with pytest-postgresql, {how}",
            ours=ours.run,
            bare=theirs.run,
            target=target,
        )


if __name__ == "__main__":
    main()
