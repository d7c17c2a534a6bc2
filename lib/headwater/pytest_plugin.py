"""The pytest plugin: a migrated database for each test. pytest finds it by itself.

    def test_a_name_is_kept(connection):
        connection.execute("insert into kb.orgs (name) values ('ours')")

    database          a fresh database, migrated to the end, for this test alone
    connection        a connection to it, in autocommit
    database_url      its URL, for a program that is tested
    database_at       a function: a database at an earlier version, or just before one
    empty_database    a fresh database without anything
    module_database, module_connection, session_database, session_connection
                      one for all tests of a module, or of the run (of each worker of xdist)
    rolled_back_connection
                      a transaction in a shared database that is rolled back: faster, but the test
                      cannot commit

With `@pytest.mark.seeded`, or headwater_seeded in the configuration, the database of a test or of a
module has the rows of the seeds. A test that fails keeps its database, and its report says where
that is.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from headwater.postgres.connect import Connection
    from headwater.testing.databases import Database
    from headwater.testing.project import Contents
    from headwater.testing.supply import Supply

KEEP = ("failed", "never", "always")

# Evidence is looked into one by one: more of it would only fill the disk.
_MOST_EVIDENCE = 20

# A server that does not answer may do so later; not each test waits for it.
_RETRY_S = 5.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what can be said on the command line, and in the configuration."""
    group = parser.getgroup("headwater", "databases by Headwater")
    group.addoption(
        "--headwater-keep",
        choices=KEEP,
        default="failed",
        help="whose database is kept after the run: that of tests that failed (the default), "
        "nobody's, or everybody's",
    )
    parser.addini("headwater_root", "the folder of tasks.py (default: rootdir, or above it)")
    parser.addini(
        "headwater_seeded",
        "all but database_at and empty_database have the rows of the seeds (default: on request)",
        type="bool",
    )
    parser.addini(
        "headwater_ahead", "how many databases are made ahead (default: 4; 0: none)", default="4"
    )


# --- leases -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lease:
    """A database that a test, or some tests, have; and why it is to be kept, if it is."""

    database: Database
    fixture: str
    kept_for: str = ""


@dataclass(slots=True)
class _Run:
    """What one process of pytest knows: the supply, once it is opened, and what was kept."""

    config: pytest.Config
    ahead: int
    most: int
    """How many databases of failed tests are kept."""
    supply: Supply | None = None
    """None: no test has asked for a database yet."""
    failure: Exception | None = None
    """Why there is no supply: every test is told at once."""
    failed_at: float = 0.0
    expected: Counter[bool] = field(default_factory=Counter)
    """How many tests will ask for a database of their own, with the seeds and without."""
    connecting: int = 0
    """How many of them will ask for a connection to it."""
    kept: int = 0
    shared: dict[Contents, _Lease] = field(default_factory=dict)
    """The databases of tests whose transactions are rolled back."""


_run = pytest.StashKey[_Run]()
_leases = pytest.StashKey[list[_Lease]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin a run. Raises UsageError for a setting that is none."""
    config.addinivalue_line("markers", "seeded: the test's database has the rows of the seeds")
    config.stash[_run] = _Run(config, ahead=_ahead(config), most=_share_of_evidence(config))


def _ahead(config: pytest.Config) -> int:
    text = str(config.getini("headwater_ahead"))
    if not re.fullmatch("[0-9]{1,3}", text):
        raise pytest.UsageError(f"headwater_ahead must be a number from 0 to 999, not {text!r}")
    return int(text)


def _share_of_evidence(config: pytest.Config) -> int:
    """Give how many databases this process may keep: no worker of xdist knows of the others."""
    return max(_MOST_EVIDENCE // _workers(config), 1)


def _workers(config: pytest.Config) -> int:
    count: int = getattr(config, "workerinput", {}).get("workercount", 1)
    return count


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the tests that will ask for a database of their own."""
    run = session.config.stash[_run]
    for item in session.items:
        if _is_ours(item, "database"):
            run.expected[_is_seeded(item)] += 1
            run.connecting += _may_connect_ahead(item)


def _is_ours(item: pytest.Item, fixture: str) -> bool:
    """Say whether a test uses a fixture of this plugin: a project may have one of that name."""
    definitions = _definitions(item).get(fixture, ())
    return bool(definitions and definitions[-1].func.__module__ == __name__)


def _may_connect_ahead(item: pytest.Item) -> bool:
    """Say whether a test finds nothing odd in a connection that is older than its other fixtures.

    One that has the database as well may set something of it that sessions learn as they begin.
    """
    if not (_is_ours(item, "database") and _is_ours(item, "connection")):
        return False
    ours = {"connection"} | ({"database_url"} if _is_ours(item, "database_url") else set())
    others = [
        definition.argnames
        for name, definitions in _definitions(item).items()
        for definition in definitions
        if name not in ours
    ]
    return not any({"database", "database_url"}.intersection(names) for names in others)


def _definitions(item: pytest.Item) -> dict[str, Any]:
    """Give the definitions of each fixture that a test uses, the one in force last."""
    info = getattr(item, "_fixtureinfo", None)  # what another plugin collects may have none
    return getattr(info, "name2fixturedefs", {})


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose mark asks for rows that its database, which it shares, does not have."""
    if item.get_closest_marker("seeded") is None or item.config.getini("headwater_seeded"):
        return
    if _is_ours(item, "database"):
        return  # that has them
    if _is_ours(item, "session_database"):
        pytest.fail(_NOT_SEEDED.format("session", "headwater_seeded = true does"), pytrace=False)
    module = item.getparent(pytest.Module)
    has_none = module is not None and module.get_closest_marker("seeded") is None
    if has_none and _is_ours(item, "module_database"):
        pytest.fail(_NOT_SEEDED.format("module", "pytestmark of the module does"), pytrace=False)


_NOT_SEEDED = (
    "@pytest.mark.seeded is of a test, whose database is its own; it puts no rows into "
    "{0}_database, which others share: {1}"
)


def _is_seeded(node: pytest.Item | pytest.Collector) -> bool:
    """Say whether the databases of a test, a module or a run have the rows of the seeds."""
    everywhere = bool(node.config.getini("headwater_seeded"))
    return everywhere or node.get_closest_marker("seeded") is not None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Drop what was made ahead, behind the teardown of all fixtures.

    (Not later: once a worker of xdist has told that it is finished, it is interrupted after five
    seconds, which other plugins may use up.)
    """
    run = session.config.stash[_run]
    if run.supply:
        for lease in list(run.shared.values()):
            _end_shared(run, run.supply, lease)
        run.supply.close()


def _supply_of(config: pytest.Config) -> Supply:
    """Give the supply of this process; it is opened when the first test asks."""
    from headwater.errors import Unreachable

    run = config.stash[_run]
    if isinstance(run.failure, Unreachable) and time.monotonic() > run.failed_at + _RETRY_S:
        run.failure = None
    if run.failure:
        raise run.failure.with_traceback(None)
    if run.supply is None:
        try:
            run.supply = _open_supply(config)
        except Exception as error:
            run.failure, run.failed_at = error, time.monotonic()
            raise
        _expect(run, run.supply)
    return run.supply


def _open_supply(config: pytest.Config) -> Supply:
    from headwater.testing.project import find_project
    from headwater.testing.use import open_supply

    named = str(config.getini("headwater_root"))
    root = config.rootpath / named if named else find_project(config.rootpath)
    return open_supply(Path(root), ahead=config.stash[_run].ahead)


def _expect(run: _Run, supply: Supply) -> None:
    supply.connects = 2 * run.connecting > run.expected.total()
    for seeded, count in run.expected.items():
        # Each worker of xdist collects all tests, and runs its share.
        share = -(-count // _workers(run.config))
        if share > 1:
            supply.expect(supply.project.contents(seeded=seeded), share)


@contextmanager
def _leased(request: pytest.FixtureRequest, **wanted: Any) -> Generator[_Lease]:
    """Take a database for the test, module or session that asks; give it back afterwards.

    `wanted` is what `Project.contents` wants to know.
    """
    wanted.setdefault("seeded", _is_seeded(request.node))
    with _errors_as_text():
        supply = _supply_of(request.config)
        taken = supply.take(supply.project.contents(**wanted))
        if request.fixturename != "database" or not _may_connect_ahead(request.node):
            supply.leave(taken)
        lease = _Lease(taken, request.fixturename or "")
    held = request.node.stash.setdefault(_leases, [])
    held.append(lease)
    try:
        yield lease
    finally:
        held.remove(lease)
        if not lease.kept_for:
            supply.give_back(lease.database)


@contextmanager
def _errors_as_text() -> Generator[None]:
    """Tell an error of ours as a text: the traceback would be ours, and no help."""
    from headwater.errors import HeadwaterError

    try:
        yield
    except HeadwaterError as error:
        raise pytest.fail.Exception(_text_of(error), pytrace=False) from None


def _text_of(error: Any) -> str:
    findings = [
        f"{f.file}:{f.line}: {f.message}" if f.line else f"{f.file}: {f.message}"
        for f in getattr(error, "findings", ())
    ]
    parts = [f"no test database: {error.message}", *findings, error.detail]
    return "\n".join([*filter(None, parts), *([f"hint: {error.hint}"] if error.hint else [])])


# --- evidence ---------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep every database that a failed test has used, and say where it is."""
    report = yield
    run = item.config.stash[_run]
    if _is_evidence(report, run.config.getoption("headwater_keep")):
        for lease in _leases_of(item):
            report.sections.append((_TITLE, _keep_for(run, item, lease)))
    return report


_TITLE = "Headwater"


def _is_evidence(report: pytest.TestReport, keep: str) -> bool:
    """Say whether what a test leaves is to be kept; after its teardown nothing is left."""
    if keep == "always":
        return report.when == "call" or (report.when == "setup" and report.failed)
    return keep == "failed" and report.failed and report.when != "teardown"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the databases are of tests that did not fail: nobody shows the reports of those."""
    for sort in ("passed", "skipped", "xfailed", "xpassed", "rerun"):
        for report in terminalreporter.getreports(sort):
            for title, text in getattr(report, "sections", ()):
                if title == _TITLE:
                    terminalreporter.write_line(f"{report.nodeid}: {text}")


def _leases_of(item: pytest.Item) -> Iterator[_Lease]:
    """Give what the test has, and what it shares with others: a module's other tests may not."""
    for node in item.listchain():
        for lease in node.stash.get(_leases, []):
            if node is item or lease.fixture in getattr(item, "fixturenames", ()):
                yield lease


def _keep_for(run: _Run, item: pytest.Item, lease: _Lease) -> str:
    """Keep a database for a test, unless there are enough; say what there is to say."""
    from headwater.testing.use import told_of

    if not lease.kept_for:
        if run.kept >= run.most and run.config.getoption("headwater_keep") != "always":
            return (
                f"{run.kept} databases are kept already; that of this test is not "
                "(--headwater-keep=always keeps all)"
            )
        if problem := _keep(run, lease, item.nodeid):
            return problem
    return told_of(lease.database)


def _keep(run: _Run, lease: _Lease, why: str) -> str:
    """Keep a database; say why that cannot be: the test's own failure stays the error."""
    from headwater.errors import HeadwaterError
    from headwater.testing.databases import note_of_keeping

    supply = _supply_of(run.config)
    try:
        supply.keep(lease.database, note_of_keeping(why))
    except HeadwaterError as error:
        return f"the database of this test could not be kept: {error.message}"
    lease.kept_for = why
    run.kept += 1
    return ""


# --- a database for each test -----------------------------------------------------------------


@pytest.fixture(scope="session")
def _database_supply(request: pytest.FixtureRequest) -> Supply:
    """What gives databases to the tests of Headwater itself."""
    with _errors_as_text():
        return _supply_of(request.config)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Generator[Database]:
    """A fresh database, migrated to the end, for this test alone."""
    with _leased(request) as lease:
        yield lease.database


@pytest.fixture
def connection(request: pytest.FixtureRequest, database: Database) -> Generator[Connection]:
    """A psycopg connection to the test's own database, in autocommit."""
    with _errors_as_text():
        connection = _supply_of(request.config).connection(database)
    with _ended(connection):
        yield connection


@pytest.fixture
def database_url(database: Database) -> str:
    """The URL of the test's own database, with the password."""
    return database.url


@pytest.fixture
def empty_database(request: pytest.FixtureRequest) -> Generator[Database]:
    """A fresh database without anything, for this test alone."""
    with _leased(request, empty=True, seeded=False) as lease:
        yield lease.database


class DatabaseAt(Protocol):
    """What `database_at` gives: a function that makes a database at a version."""

    def __call__(self, version: str, *, before: bool = False, seeded: bool = False) -> Database:
        """Make a database whose last version is this; with `before`, just before it."""


@pytest.fixture
def database_at(request: pytest.FixtureRequest) -> Generator[DatabaseAt]:
    """Make databases at earlier versions, to test a migration with rows in place.

    def test_every_name_is_kept(database_at):
        db = database_at("20260301_split_names", before=True)
        ...
        db.migrate(to="20260301_split_names")
    """
    from contextlib import ExitStack

    with ExitStack() as stack:

        def give(version: str, *, before: bool = False, seeded: bool = False) -> Database:
            # Not by the mark: the seeds fit the schema of today, and perhaps no earlier one.
            leased = _leased(request, at=version, before=before, seeded=seeded)
            return stack.enter_context(leased).database

        yield give


# --- one for many tests -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def module_database(request: pytest.FixtureRequest) -> Generator[Database]:
    """A migrated database for the tests of a module, which see what the others write."""
    with _leased(request) as lease:
        yield lease.database


@pytest.fixture(scope="module")
def module_connection(module_database: Database) -> Generator[Connection]:
    """A connection to the module's database, in autocommit."""
    with _ended(_connected(module_database)) as connection:
        yield connection


@pytest.fixture(scope="session")
def session_database(request: pytest.FixtureRequest) -> Generator[Database]:
    """A migrated database for all tests of a run (of each worker of xdist)."""
    with _leased(request) as lease:
        yield lease.database


@pytest.fixture(scope="session")
def session_connection(session_database: Database) -> Generator[Connection]:
    """A connection to the run's database, in autocommit."""
    with _ended(_connected(session_database)) as connection:
        yield connection


def _connected(database: Database) -> Connection:
    with _errors_as_text():
        return database.connect()


def _ended(connection: Connection) -> AbstractContextManager[Connection]:
    from headwater.testing.rollback import ended

    return ended(connection)


# --- a transaction for each test --------------------------------------------------------------


@pytest.fixture
def rolled_back_connection(request: pytest.FixtureRequest) -> Generator[Connection]:
    """A connection inside a transaction that is rolled back, in a database that others use, too.

    The test cannot commit, and sequences go on counting. When it fails, what it wrote is committed
    and the database kept; the next test has another one.
    """
    from headwater.testing.rollback import TransactionEnded, undone

    run = request.config.stash[_run]
    with _errors_as_text():
        supply = _supply_of(request.config)
        lease = _shared(run, supply, seeded=_is_seeded(request.node))
    held = request.node.stash.setdefault(_leases, [])
    held.append(lease)
    try:
        with _ended(_connected(lease.database)) as connection:
            with undone(connection) as outcome:
                yield connection
                outcome.keep = bool(lease.kept_for)
            # (Only now: that the server has ended the session is learnt by asking it.)
            if connection.closed and not lease.kept_for:
                # Nobody knows what it has committed before.
                _end_shared(run, supply, lease)
    except TransactionEnded as error:
        _end_shared(run, supply, lease)
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    except pytest.fail.Exception:
        _end_shared(run, supply, lease)  # it is not there any more, perhaps
        raise
    finally:
        held.remove(lease)
        if lease.kept_for:
            _end_shared(run, supply, lease)


def _shared(run: _Run, supply: Supply, *, seeded: bool) -> _Lease:
    wanted = supply.project.contents(seeded=seeded)
    if wanted not in run.shared:
        run.shared[wanted] = _Lease(supply.take(wanted), "rolled_back_connection")
        supply.leave(run.shared[wanted].database)
    return run.shared[wanted]


def _end_shared(run: _Run, supply: Supply, lease: _Lease) -> None:
    """End the use of a shared database: the next test that wants one has a new one."""
    run.shared = {wanted: each for wanted, each in run.shared.items() if each is not lease}
    if not lease.kept_for:
        supply.give_back(lease.database)
