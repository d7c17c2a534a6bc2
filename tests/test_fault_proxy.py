"""A connection that breaks at any message of the protocol: before, after, or a named statement.

Each loop goes on until a run passes unbroken. A run that leaves the database exactly as it was
needs no other proof that it can be repeated: the next one of the loop is the repetition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from headwater.files.read import read_folder
from headwater.model import MigrationFolder, Target
from headwater.postgres.connect import with_database
from headwater.settings import Settings
from tests.conftest import FreshDatabase
from tests.faults.proxy import CUTS, HOLES, Fault, Proxy
from tests.faults.state import Ending, Glance, glance_at, run, wait_for_quiet
from tests.support import migrated, write_files

pytestmark = pytest.mark.slow

Databases = Callable[[], AbstractContextManager[Target]]

BASE = {
    "0001_base.sql": "create schema app; create table app.t (i int primary key);"
    "insert into app.t values (1), (2); create type app.mood as enum ('sad');"
    "create table app.log (what text);"
}
PLAIN = "create table app.more (i int); insert into app.log values ('once');"
STEPWISE = """-- headwater: no-transaction
create index concurrently t_i on app.t (i);
insert into app.log values ('once');
alter type app.mood add value 'happy';
drop index concurrently app.t_i;
"""
HOLDS = 'select count(*) = 1 as "it was logged once" from app.log'

SCENARIOS = {
    "transaction": {"0002_kind.sql": PLAIN, "0003_next.sql": "insert into app.t values (3);"},
    "post-condition": {"0002_kind.sql": PLAIN, "0002_kind.verify.sql": HOLDS},
    "no transaction": {"0002_kind.sql": STEPWISE, "0002_kind.verify.sql": HOLDS},
}
# Refused, failed, half done, busy, unknown: each of them says what is so.
REFUSED, FAILED, HALF_DONE, BUSY, UNKNOWN = 2, 3, 4, 5, 6


@pytest.fixture(scope="module")
def base(
    server: Target, fresh_database: FreshDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Generator[str]:
    """The name of a database with BASE."""
    with fresh_database() as url:
        name = str(conninfo_to_dict(url)["dbname"])
        root = tmp_path_factory.mktemp("base")
        target = with_database(server, name, "test")
        migrated(target, Settings(root=root, migrations=root), BASE)
        yield name


@pytest.fixture
def databases(server: Target, fresh_database: FreshDatabase, base: str) -> Databases:
    """Make a database that stands before every scenario, and drop it afterwards."""

    @contextmanager
    def make() -> Generator[Target]:
        with fresh_database(base) as url:
            yield with_database(server, str(conninfo_to_dict(url)["dbname"]), "test")

    return make


@dataclass(frozen=True, slots=True)
class Scenario:
    """Files that are to be applied, and the pictures that a run may leave."""

    name: str
    folder: MigrationFolder
    settings: Settings
    before: Glance
    after: Glance
    messages: int


@dataclass(frozen=True, slots=True)
class Case:
    """One broken run, and what it left."""

    scenario: Scenario
    faults: dict[int, Fault]
    message: bytes
    ending: Ending
    left: Glance
    again: Ending | None = None
    finally_left: Glance | None = None
    had_to_close: bool = False

    @property
    def applied(self) -> list[str]:
        return [row[0] for row in self.left.history]

    @property
    def wrong(self) -> str:
        """Say what is wrong with it, if anything is."""
        if self.again and (self.again.code or self.finally_left != self.scenario.after):
            return "it needs a step by hand"
        if self.left == self.scenario.after:
            # A run may break after its end, as its connections are closed.
            return "" if self.ending.code == 0 or self._is_named else "it is applied; not said"
        if self.ending.code == 0:
            return "said to be done, and is not"
        if self.ending.code == UNKNOWN and not self._is_named:
            return "unknown, although the server can be asked"
        if "0002_kind" in self.applied or self.left == self.scenario.before:
            return ""
        if not self.left.journal:
            return "between"
        return "" if self._is_named else "half done; not said"

    @property
    def _is_named(self) -> bool:
        return self.ending.code in {HALF_DONE, UNKNOWN} and bool(
            re.search(r"0002_kind(\.verify)?\.sql", self.ending.message)
            and re.search(r"statements? (done: )?(at least )?\d", self.ending.words)
        )

    def __str__(self) -> str:
        faults = ", ".join(f"{fault} {point}" for point, fault in self.faults.items())
        return (
            f"{self.scenario.name}: {faults} ({self.message[:1]!r} {self.message[5:50]!r}): "
            f"{self.wrong}; {self.ending}; again: {self.again}; journal {self.left.journal}"
        )


def scenario_of(name: str, root: Path, settings: Settings, databases: Databases) -> Scenario:
    """Run the files unbroken, and count their messages."""
    write_files(root, BASE | SCENARIOS[name])
    folder = read_folder(root)
    with databases() as target, Proxy(target) as proxy:
        before = glance_at(target)
        ending = run(proxy.target, folder, settings)
        assert ending.code == 0, ending.words
        wait_for_quiet(target)
        return Scenario(name, folder, settings, before, glance_at(target), proxy.counted)


def broken(
    scenario: Scenario, target: Target, proxy: Proxy, faults: dict[int, Fault], *, alone: bool = False
) -> Case:
    """Break one run, wait until the server is done with it, and look."""
    proxy.arm(faults, alone=alone)
    ending = run(proxy.target, scenario.folder, scenario.settings)
    struck = b" + ".join(proxy.broken_at)
    had_to_close = proxy.had_to_close
    proxy.arm({})
    wait_for_quiet(target)
    return Case(scenario, faults, struck, ending, glance_at(target), had_to_close=had_to_close)


def repeated(case: Case, target: Target) -> Case:
    """Run the files once more, with nothing in the way."""
    scenario = case.scenario
    again = run(target, scenario.folder, scenario.settings)
    return Case(
        scenario,
        case.faults,
        case.message,
        case.ending,
        case.left,
        again,
        glance_at(target),
        case.had_to_close,
    )


def break_at_every_message(
    scenario: Scenario, fault: Fault, databases: Databases
) -> Iterator[Case]:
    """Break a run at message 1, 2, … until one passes."""
    point = 1
    while True:
        with databases() as target, Proxy(target) as proxy:
            while True:
                case = broken(scenario, target, proxy, {point: fault})
                if not case.message:
                    assert (case.ending.code, case.left) == (0, scenario.after)
                    return
                point += 1
                if case.left != scenario.before:
                    yield repeated(case, target)
                    break
                yield case


@pytest.mark.parametrize("fault", CUTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_connection_cut_at_any_message_leaves_before_after_or_a_named_statement(
    tmp_path: Path, settings: Settings, databases: Databases, name: str, fault: Fault
) -> None:
    scenario = scenario_of(name, tmp_path / "f", settings, databases)
    cases = list(break_at_every_message(scenario, fault, databases))
    wrong = [str(case) for case in cases if case.wrong]
    reached = sum(case.left != scenario.before for case in cases)
    print(
        f"{fault} each of {len(cases)} messages, {name}: right {len(cases) - len(wrong)} of "
        f"{len(cases)} ({reached} had begun to change something)"
    )
    assert not wrong, "\n".join(wrong)
    assert len(cases) >= scenario.messages > 50
