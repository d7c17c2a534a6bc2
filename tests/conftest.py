"""Where the tests' databases come from: the private server, or TEST_DATABASE_URL.

Tests over several versions of PostgreSQL, and those with PgBouncer, get theirs from `servers.py`.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from psycopg import conninfo, sql

from headwater.model import Target
from headwater.postgres.connect import with_database
from headwater.postgres.databases import create_database, drop_database
from headwater.postgres.makers import name_with_maker
from headwater.postgres.templates import PREFIX, project_of
from headwater.settings import Settings, load_settings
from headwater.testing.databases import PREFIX as TEST_PREFIX
from headwater.testing.databases import Database, note_of_making
from headwater.testing.project import NOTHING
from headwater.testing.supply import Supply
from tests.faults import stride  # noqa: F401 - before workers start, which are to have its DAY
from tests.servers import VERSIONS, Missing, pgbouncer, started
from tests.support import server_of_tests

ROOT = Path(__file__).parent.parent

# Whoever starts the tests in the background of a script has them ignore Ctrl-C, and every process
# that they start: those tests that interrupt one would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FreshDatabase = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def server() -> Target:
    """The server that holds every database of the tests; connected to its `postgres`."""
    return server_of_tests(ROOT)


@pytest.fixture(scope="session")
def fresh_database(server: Target, _database_supply: Supply) -> FreshDatabase:
    """Make a database (empty, or a clone of `template`), give its URL, and drop it afterwards."""
    clone = databases_of(server)

    @contextmanager
    def make(template: str | None = None) -> Generator[str]:
        if template:
            with clone(template) as url:
                yield url
        else:
            with _database_supply.fresh(NOTHING) as database:
                yield database.target.conninfo

    return make


def databases_of(server: Target) -> FreshDatabase:
    """Give what makes databases on any server, as the supply does on its own."""

    @contextmanager
    def make(template: str | None = None) -> Generator[str]:
        name = name_with_maker(TEST_PREFIX)
        with psycopg.connect(server.conninfo, autocommit=True) as admin:
            create_database(admin, name, template=template or "template0", note=note_of_making())
        try:
            yield conninfo.make_conninfo(server.conninfo, dbname=name)
        finally:
            with psycopg.connect(server.conninfo, autocommit=True) as admin:
                drop_database(admin, name)

    return make


# Each project of a test leaves templates, of 8 MB at least, and there are thousands of tests.
_EVERY = 50
_count = itertools.count(1)


@pytest.fixture(autouse=True)
def unused_templates_go(request: pytest.FixtureRequest) -> Generator[None]:
    """Drop, now and then, the templates of the tests' own projects, which are minutes old.

    (Not that of this project: it is in use all the time, and its use is noted once an hour.)
    """
    yield
    if "server" not in request.fixturenames or next(_count) % _EVERY:
        return
    server: Target = request.getfixturevalue("server")
    with psycopg.connect(server.conninfo, autocommit=True) as admin:
        # (What is older than an hour was made so by a test about that.)
        names = admin.execute(
            "select datname from pg_database, "
            "substring(shobj_description(oid, 'pg_database') from 'used (.*)$') as used "
            "where starts_with(datname, %s) "
            "and used::timestamptz between now() - interval '1 hour' and now() - interval '3 min' "
            "and not shobj_description(oid, 'pg_database') ^@ %s",
            (PREFIX, f"headwater: template of {project_of(load_settings(ROOT))},"),
        )
        for (name,) in names.fetchall():
            with suppress(psycopg.Error):
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def reference_database(_database_supply: Supply) -> Callable[[], AbstractContextManager[str]]:
    """Make a database with the reference schema, give its URL, and drop it afterwards."""

    @contextmanager
    def make() -> Generator[str]:
        with _database_supply.fresh(_database_supply.project.contents()) as database:
            yield database.target.conninfo

    return make


@pytest.fixture
def target(server: Target, empty_database: Database) -> Target:
    """An empty, disposable database for one test; a test that fails keeps it, and says where."""
    return with_database(server, empty_database.name, "test")


# --- other servers ----------------------------------------------------------------------------


def without(lacking: Missing) -> NoReturn:
    """Skip a test whose server is not installed, and say how to get it; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{lacking}; in CI nothing is skipped")
    pytest.skip(str(lacking))


@pytest.fixture(scope="session")
def server_of_version(server: Target) -> Callable[[int], Target]:
    """Give a server of a major version, connected to its `postgres`."""

    def give(major: int) -> Target:
        with psycopg.connect(server.conninfo) as connection:
            if connection.info.server_version // 10_000 == major:
                return server
        try:
            return started(major)
        except Missing as lacking:
            without(lacking)

    return give


@pytest.fixture(params=VERSIONS, ids=lambda major: f"postgres{major}")
def versioned(
    request: pytest.FixtureRequest, server_of_version: Callable[[int], Target]
) -> Generator[Target]:
    """An empty, disposable database on each version in turn."""
    with disposable_on(server_of_version(request.param)) as target:
        yield target


@contextmanager
def disposable_on(server: Target) -> Generator[Target]:
    """Make an empty, disposable database on a server, and drop it afterwards."""
    with databases_of(server)() as url:
        yield with_database(server, str(conninfo.conninfo_to_dict(url)["dbname"]), "test")


Pooled = Callable[..., AbstractContextManager[Target]]


@pytest.fixture
def pooled(target: Target) -> Pooled:
    """Put PgBouncer before the target: `with pooled("session", pool_size=5) as through: …`."""

    @contextmanager
    def give(mode: str, **options: str | int) -> Generator[Target]:
        try:
            with pgbouncer(target, mode, **options) as through:  # type: ignore[arg-type]
                yield through
        except Missing as lacking:
            without(lacking)

    return give


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an empty project that manages the schema `app`."""
    (tmp_path / "migrations").mkdir()
    return Settings(
        root=tmp_path,
        migrations=tmp_path / "migrations",
        schemas=("app",),
        lock_timeout_ms=500,
        wait_lock_ms=20_000,
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the museum, the corpus of lint and the end-to-end suite have shown, as fractions.

    (The suite's own conftest is not read where tests run in other processes.)
    """
    _tell_of_the_museum(terminalreporter)
    for name, what in _PAIRS.items():
        _tell_of_pairs(terminalreporter, name, what)


def _tell_of_the_museum(terminalreporter: pytest.TerminalReporter) -> None:
    sorts = {"bad": "bad inputs", "good": "good inputs that look bad"}
    for sort, what in sorts.items():
        ended = [
            report.passed
            for reports in terminalreporter.stats.values()
            for report in reports
            if ("museum", sort) in getattr(report, "user_properties", ()) and report.when == "call"
        ]
        if ended:
            terminalreporter.write_line(f"{what}: {sum(ended)} of {len(ended)}")


# A property of tests, whose value is how many of how many; and what that is.
_PAIRS = {
    "corpus hazards": "hazards found at their line",
    "corpus safe": "safe forms without a finding above information",
    "corpus refuted": "text findings about locks, rewrites and scans that the trace refutes, "
    "shown all the same",
    "isolation": "isolation",
    "strangers": "references to what belongs to others refused",
}


def _tell_of_pairs(terminalreporter: pytest.TerminalReporter, name: str, what: str) -> None:
    pairs = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for given, value in getattr(report, "user_properties", ())
        if given == name and report.when == "call"
    ]
    if pairs:
        some, of = (sum(numbers) for numbers in zip(*pairs, strict=True))
        terminalreporter.write_line(f"{what}: {some} of {of}")
