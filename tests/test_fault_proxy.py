"""A connection that breaks at any message of the protocol: before, after, or a named statement.

Each loop goes on until a run passes unbroken. A run that leaves the database exactly as it was
needs no other proof that it can be repeated: the next one of the loop is the repetition.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
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
from tests.faults.stride import STRIDE, drawn
from tests.support import migrated, query, value, write_files

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
FAILED, HALF_DONE, UNKNOWN = 3, 4, 6
# For how long the proxy lets a client wait in a black hole.
HOLE_SECONDS = 6
# Every message is broken; where time is short, each n-th, from one that is drawn.


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
    return clones_of(base, server, fresh_database)


def clones_of(template: str, server: Target, fresh_database: FreshDatabase) -> Databases:
    """Make databases that stand where another one does."""

    @contextmanager
    def make() -> Generator[Target]:
        with fresh_database(template) as url:
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
    messages: tuple[bytes, ...]

    @property
    def commits(self) -> int:
        """Give the number of the last COMMIT: that of the last file."""
        return sum(b"COMMIT" in message for message in self.messages)


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
    def wrong(self) -> str:  # noqa: PLR0911 - one for each way to be wrong
        """Say what is wrong with it, if anything is."""
        if self.again and (self.again.code or self.finally_left != self.scenario.after):
            return "it needs a step by hand"
        for version in re.findall(r"(\w+)\.sql[^\n]*not applied", self.ending.message):
            if version in self.applied:
                return f"{version} is applied; it said not"
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


def scenario_of(
    name: str, files: dict[str, str], root: Path, settings: Settings, databases: Databases
) -> Scenario:
    """Run the files unbroken, and keep their messages."""
    write_files(root, BASE | files)
    folder = read_folder(root)
    with databases() as target, Proxy(target) as proxy:
        before = glance_at(target)
        ending = run(proxy.target, folder, settings)
        assert ending.code == 0, ending.words
        wait_for_quiet(target)
        after = glance_at(target)
        return Scenario(name, folder, settings, before, after, tuple(proxy.messages))


def broken(
    scenario: Scenario,
    target: Target,
    proxy: Proxy,
    faults: dict[int, Fault],
    *,
    alone: bool = False,
    commits: int = 0,
) -> Case:
    """Break one run, wait until the server is done with it, and look."""
    proxy.arm(faults, alone=alone, commits=commits)
    ending = run(proxy.target, scenario.folder, scenario.settings)
    wait_for_quiet(target)
    struck, had_to_close = b" + ".join(proxy.broken_at), proxy.had_to_close
    proxy.arm({})
    return Case(scenario, faults, struck, ending, glance_at(target), had_to_close=had_to_close)


def repeated(case: Case, target: Target) -> Case:
    """Run the files once more, with nothing in the way."""
    again = run(target, case.scenario.folder, case.scenario.settings)
    return replace(case, again=again, finally_left=glance_at(target))


def break_at_every_message(
    scenario: Scenario,
    fault: Fault,
    databases: Databases,
    *,
    at_once: int = 4,
    hole_seconds: float = 15,
    stride: int = STRIDE,
) -> list[Case]:
    """Break a run at message 1, 2, … until one passes; several at once, each on its own."""
    points = itertools.count(random.randint(1, stride), stride)

    def loop(_: int) -> list[Case]:
        cases: list[Case] = []
        while True:
            with databases() as target, Proxy(target, hole_seconds=hole_seconds) as proxy:
                start = glance_at(target)
                while True:
                    case = broken(scenario, target, proxy, {next(points): fault})
                    if not case.message:
                        assert (case.ending.code, case.left) == (0, scenario.after)
                        return cases
                    if case.left != start:
                        cases.append(repeated(case, target))
                        break
                    cases.append(case)

    with ThreadPoolExecutor(at_once) as pool:
        return [case for cases in pool.map(loop, range(at_once)) for case in cases]


def require_right(what: str, cases: list[Case]) -> None:
    """Print the figure, and fail with all that is wrong."""
    wrong = [str(case) for case in cases if case.wrong]
    changed = sum(case.left != case.scenario.before for case in cases)
    print(
        f"{what}: right {len(cases) - len(wrong)} of {len(cases)} "
        f"({changed} of them had begun to change something)"
    )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("fault", CUTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_connection_cut_at_any_message_leaves_before_after_or_a_named_statement(
    tmp_path: Path, settings: Settings, databases: Databases, name: str, fault: Fault
) -> None:
    scenario = scenario_of(name, SCENARIOS[name], tmp_path / "f", settings, databases)
    cases = break_at_every_message(scenario, fault, databases)
    require_right(f"{fault} each of {len(cases)} messages, {name}", cases)
    assert len(cases) >= len(scenario.messages) // STRIDE > 40 // STRIDE


@pytest.mark.parametrize("fault", HOLES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_connection_that_falls_silent_at_any_message_does_too_and_the_run_comes_back(
    tmp_path: Path, settings: Settings, databases: Databases, name: str, fault: Fault
) -> None:
    scenario = scenario_of(name, SCENARIOS[name], tmp_path / "f", settings, databases)
    cases = break_at_every_message(
        scenario, fault, databases, at_once=20, hole_seconds=HOLE_SECONDS
    )
    by_itself = sum(not case.had_to_close for case in cases)
    require_right(
        f"{fault} at each of {len(cases)} messages, {name} "
        f"(came back by itself: {by_itself} of {len(cases)})",
        cases,
    )
    assert len(cases) >= len(scenario.messages) // STRIDE


# --- around COMMIT ----------------------------------------------------------------------------

# What the server does at COMMIT: a deferred trigger takes its time, and may refuse in the end.
PACE = """
create table app.pace (seconds float, refuses boolean);
insert into app.pace values (0, false);
create table app.slow (seconds float, refuses boolean);
create function app.think() returns trigger language plpgsql as $$
begin
    perform pg_sleep(new.seconds);
    if new.refuses then raise exception 'no'; end if;
    return null;
end $$;
create constraint trigger think after insert on app.slow
    deferrable initially deferred for each row execute function app.think();
"""
SLOW = {"0002_kind.sql": "insert into app.slow select * from app.pace;"}
COMMITS = {
    "at once": (0.0, False),
    "slow": (1.2, False),
    "slow and refused": (1.2, True),
    # Longer than the server takes to notice that its client is gone.
    "very slow": (3.5, False),
}


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A run that was broken at its COMMIT: what it said, and what is true."""

    what: str
    ending: Ending
    applied: bool
    alone: bool
    reached: bool
    """Whether the server was given the COMMIT."""

    @property
    def right(self) -> bool:
        """Say whether it told the truth; `unknown` only where the server cannot be asked."""
        truth = 0 if self.applied else FAILED
        if not self.alone:
            return self.ending.code == truth
        return self.ending.code == UNKNOWN or (not self.reached and self.ending.code == truth)

    def __str__(self) -> str:
        truth = "applied" if self.applied else "not applied"
        return f"{self.what}: said {self.ending} ({self.ending.detail}), true is {truth}"


def break_at_commit(
    scenario: Scenario, commit: str, fault: Fault, databases: Databases, *, alone: bool
) -> Ambiguous:
    """Break a run at the message that holds its COMMIT."""
    seconds, refuses = COMMITS[commit]
    with databases() as target, Proxy(target, hole_seconds=HOLE_SECONDS) as proxy:
        query(target, f"update app.pace set seconds = {seconds}, refuses = {refuses}")
        case = broken(scenario, target, proxy, {1: fault}, alone=alone, commits=scenario.commits)
        applied = "0002_kind" in case.applied
        assert b"COMMIT" in case.message
        assert applied == bool(value(target, "select count(*) from app.slow")), "between"
    return Ambiguous(
        f"{scenario.name}, commit {commit}, {fault}{', server gone' * alone}",
        case.ending,
        applied,
        alone,
        fault not in {Fault.BEFORE, Fault.HALF, Fault.HOLE},
    )


@pytest.fixture(scope="module")
def paced(
    server: Target, fresh_database: FreshDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Generator[str]:
    """The name of a database whose COMMITs take the time that a table says."""
    with fresh_database() as url:
        name = str(conninfo_to_dict(url)["dbname"])
        root = tmp_path_factory.mktemp("paced")
        target = with_database(server, name, "test")
        migrated(target, Settings(root=root, migrations=root), BASE)
        query(target, PACE)
        yield name


def test_a_commit_whose_answer_never_came_is_told_by_its_right_name(
    tmp_path: Path, settings: Settings, server: Target, fresh_database: FreshDatabase, paced: str
) -> None:
    databases = clones_of(paced, server, fresh_database)
    verified = SLOW | {"0002_kind.verify.sql": 'select true as "it is so"'}
    scenarios = [
        scenario_of("alone", SLOW, tmp_path / "a", settings, databases),
        scenario_of("with a post-condition", verified, tmp_path / "b", settings, databases),
    ]
    cases = itertools.product(scenarios, COMMITS, Fault, (False, True))
    with ThreadPoolExecutor(12) as pool:
        found = list(
            pool.map(lambda c: break_at_commit(c[0], c[1], c[2], databases, alone=c[3]), cases)
        )
    wrong = [str(each) for each in found if not each.right]
    print(f"ambiguous commits named rightly: {len(found) - len(wrong)} of {len(found)}")
    assert not wrong, "\n".join(wrong)
    # Both truths were met, with the server there to be asked and without.
    assert {(each.applied, each.alone) for each in found} == set(
        itertools.product((True, False), (True, False))
    )


# --- broken twice -----------------------------------------------------------------------------


def test_a_run_that_mends_a_broken_one_may_break_as_well(
    tmp_path: Path,
    settings: Settings,
    server: Target,
    fresh_database: FreshDatabase,
    databases: Databases,
) -> None:
    name = "no transaction"
    scenario = scenario_of(name, SCENARIOS[name], tmp_path / "f", settings, databases)
    # Every state that one cut can leave, and that is neither before nor after.
    states: dict[Glance, int] = {}
    for point in range(1, len(scenario.messages) + 1):
        with databases() as target, Proxy(target) as proxy:
            left = broken(scenario, target, proxy, {point: Fault.AFTER}).left
            if left not in {scenario.before, scenario.after}:
                states.setdefault(left, point)
    cases: list[Case] = []
    for point in drawn([*states.values()]):
        with databases() as half_done:
            with Proxy(half_done) as proxy:
                left = broken(scenario, half_done, proxy, {point: Fault.AFTER}).left
            if left in {scenario.before, scenario.after}:
                continue  # on a busy machine a statement more or less is done by the same cut
            again = clones_of(half_done.database, server, fresh_database)
            # Before is where this run began; or where all began, when what it found was undone.
            from_here = break_at_every_message(
                replace(scenario, before=left), Fault.AFTER, again, stride=8 * STRIDE
            )
            cases += [
                replace(case, scenario=scenario) if case.left == scenario.before else case
                for case in from_here
            ]
    require_right(
        f"cut again at each eighth message, from {len(states)} states that a cut had left", cases
    )
    assert len(states) >= 4


def test_the_question_after_a_lost_commit_may_be_cut_as_well(
    tmp_path: Path, settings: Settings, databases: Databases
) -> None:
    name = "post-condition"
    scenario = scenario_of(name, SCENARIOS[name], tmp_path / "f", settings, databases)
    cases = []
    for first, second in itertools.product((Fault.BEFORE, Fault.ANSWERED), (Fault.AFTER,)):
        for further in range(1, 200, STRIDE):
            with databases() as target, Proxy(target) as proxy:
                faults = {1: first, 1 + further: second}
                case = broken(scenario, target, proxy, faults, commits=scenario.commits)
                if b" + " not in case.message:
                    break
                cases.append(repeated(case, target) if case.ending.code else case)
        assert further > 10
    require_right("cut again while it asks what became of COMMIT", cases)
