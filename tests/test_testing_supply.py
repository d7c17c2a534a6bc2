"""The supply: databases are made ahead by threads, given out once, dropped when they come back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.errors import MigrationFailed, TargetError
from headwater.model import Target
from headwater.testing.databases import Database, note_of_keeping, notes_in
from headwater.testing.making import Cloner
from headwater.testing.project import NOTHING, Contents, Project
from headwater.testing.supply import AHEAD, Supply
from tests.support import exit_code_of, query, until, value, write_files
from tests.tenants import Tenant, project_in, tenant_on

SupplyOf = Callable[..., Supply]


@pytest.fixture(scope="module")
def tenant(server: Target) -> Generator[Tenant]:
    with tenant_on(server) as made:
        yield made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project_in(
        tmp_path_factory.mktemp("project"),
        {"0001_a.sql": "create schema app; create table app.t (id int);"},
    )


@pytest.fixture
def supply(tenant: Tenant, project: Project) -> Generator[SupplyOf]:
    """Make supplies of the project; what they leave behind fails the test."""
    made = list[Supply]()

    def make(project: Project = project, ahead: int = AHEAD) -> Supply:
        made.append(Supply(tenant.server, project, ahead=ahead))
        return made[-1]

    yield make
    for each in made:
        each.close()
    left = tenant.databases()
    tenant.drop(*left)
    assert left == []
    sessions = f"select 1 from pg_stat_activity where usename = '{tenant.role}'"
    until(lambda: not query(tenant.admin, sessions), "the end of all sessions")


def everything(supply: Supply) -> Contents:
    return Contents(versions=supply.project.versions)


def count(tenant: Tenant) -> int:
    return len(tenant.databases())


def test_what_is_expected_is_made_before_it_is_asked_for(supply: SupplyOf, tenant: Tenant) -> None:
    some = supply()
    some.expect(everything(some), 100)
    until(lambda: count(tenant) == AHEAD, "the making ahead")
    first = some.take(everything(some))
    until(lambda: count(tenant) == AHEAD + 1, "the making of the next")
    some.give_back(first)
    until(lambda: first.name not in tenant.databases(), "the dropping")


def test_no_more_is_made_than_is_expected(supply: SupplyOf, tenant: Tenant) -> None:
    some = supply()
    some.expect(everything(some), 2)
    taken = [some.take(everything(some)) for _ in range(2)]
    some.give_back(some.take(everything(some)))  # one more than was said
    until(lambda: tenant.databases() == sorted(each.name for each in taken))
    for each in taken:
        some.give_back(each)


def test_what_is_asked_for_once_is_not_made_ahead(supply: SupplyOf, tenant: Tenant) -> None:
    some = supply()
    one = some.take(everything(some))
    assert some._threads == []
    assert tenant.databases() == [one.name]
    some.give_back(one)
    assert count(tenant) == 0


def test_what_is_asked_for_again_is_made_ahead(supply: SupplyOf, tenant: Tenant) -> None:
    some = supply()
    for _ in range(2):
        some.give_back(some.take(NOTHING))
    until(lambda: any(some._ready[NOTHING]), "the making ahead")
    ready = some._ready[NOTHING][0].name
    assert some.take(NOTHING).name == ready
    some._returned.append(ready)


def test_nothing_is_made_ahead_where_that_was_said(supply: SupplyOf, tenant: Tenant) -> None:
    some = supply(ahead=0)
    some.expect(everything(some), 100)
    taken = [some.take(everything(some)) for _ in range(3)]
    assert tenant.databases() == sorted(each.name for each in taken)
    for each in taken:
        some.give_back(each)
    assert count(tenant) == 0
    assert some._threads == []


def test_none_is_given_to_two(supply: SupplyOf) -> None:
    some = supply()
    some.expect(everything(some), 24)
    names = list[str]()
    with ThreadPoolExecutor(6) as pool:
        for taken in pool.map(lambda _: some.take(everything(some)), range(24)):
            names.append(taken.name)
            some.give_back(taken)
    assert len(set(names)) == 24


def test_what_a_test_left_open_is_dropped_all_the_same(supply: SupplyOf, tenant: Tenant) -> None:
    some = supply()
    some.expect(everything(some), 2)
    one = some.take(everything(some))
    left_open = one.connect()
    some.give_back(one)
    until(lambda: one.name not in tenant.databases(), "the dropping")
    left_open.close()


def test_what_is_kept_stays_with_a_line_that_says_so(supply: SupplyOf, tenant: Tenant) -> None:
    some = supply()
    some.expect(everything(some), 3)
    kept = some.take(everything(some))
    some.keep(kept, note_of_keeping("tests/test_a.py::test_a"))
    some.close()
    assert tenant.databases() == [kept.name]
    assert notes_in(tenant.comment(kept.name)).kept_at is not None
    assert "tests/test_a.py::test_a" in tenant.comment(kept.name)
    tenant.drop(kept.name)


def test_who_asks_while_one_is_made_waits_for_that_one(
    supply: SupplyOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = Cloner.make, list[str]()

    def note(self: Cloner, contents: Contents) -> Database:
        if self.project is some.project:  # that of other fixtures goes on
            made.append(threading.current_thread().name)
        return make(self, contents)

    some = supply()
    monkeypatch.setattr(Cloner, "make", note)
    some.expect(everything(some), 1)
    until(lambda: made, "the making")
    some.give_back(some.take(everything(some)))
    assert len(made) == 1


@pytest.mark.parametrize("making", [False, True])
def test_nothing_is_left_however_early_it_is_closed(
    supply: SupplyOf, tenant: Tenant, making: bool
) -> None:
    some = supply()
    some.expect(everything(some), 50)
    if making:
        until(lambda: some._making[everything(some)], "the making")
    some.close()
    some.close()
    assert count(tenant) == 0


def test_what_is_given_back_after_the_end_is_dropped(supply: SupplyOf, tenant: Tenant) -> None:
    some = supply()
    some.expect(everything(some), 2)
    late = some.take(everything(some))
    some.close()
    some.give_back(late)
    assert count(tenant) == 0


# --- what goes wrong --------------------------------------------------------------------------


def test_an_error_of_a_thread_reaches_everybody_who_asks(supply: SupplyOf, tmp_path: Path) -> None:
    some = supply(project_in(tmp_path, {"0001_a.sql": "select pg_sleep(0.1); select 1/0;"}))
    some.expect(everything(some), 10)

    def ask(_: int) -> str:
        with pytest.raises(MigrationFailed) as caught:
            some.take(everything(some))
        return caught.value.message

    with ThreadPoolExecutor(4) as pool:
        told = pool.map(ask, range(8))
    assert "0001_a.sql" in "".join(set(told))


def test_a_failure_that_passes_does_not_end_the_making_ahead(
    supply: SupplyOf, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has no room for the threads' first database, say."""
    made, failed = Cloner.make, threading.Event()

    def fail_once_in_threads(self: Cloner, contents: Contents) -> object:
        ours = self.project is some.project and self is not some.cloner
        if ours and not failed.is_set():
            failed.set()
            raise TargetError("no room")
        return made(self, contents)

    some = supply()
    monkeypatch.setattr("headwater.testing.supply._THREADS", 1)
    monkeypatch.setattr(Cloner, "make", fail_once_in_threads)
    some.expect(everything(some), 100)
    until(failed.is_set, "the failure")
    one = some.take(everything(some))
    until(lambda: count(tenant) == AHEAD + 1, "the making ahead")
    some.give_back(one)


def test_who_cannot_have_it_dropped_is_not_to_blame(
    supply: SupplyOf, tenant: Tenant, project: Project
) -> None:
    some = supply(ahead=0)
    one = some.take(everything(some))
    query(tenant.admin, f"alter database {one.name} owner to current_user")
    some.give_back(one)
    assert value(tenant.admin, f"select count(*) from pg_database where datname = '{one.name}'")
    tenant.drop(one.name)


def test_the_end_does_not_wait_for_another_run_that_builds(
    supply: SupplyOf, tenant: Tenant, tmp_path: Path
) -> None:
    # (Of these files no other test makes a template.)
    some = supply(project_in(tmp_path, {"0001_a.sql": "create schema app; -- the end"}))
    with (
        Cloner(tenant.server, some.project) as other,
        other.connection() as connection,
        other._only_here(connection, everything(some)),
    ):
        heard = threading.Event()
        some.cloner.notify = lambda _: heard.set()
        some.expect(everything(some), 10)
        until(heard.is_set, "the waiting")
        ending = threading.Thread(target=some.close, daemon=True)
        ending.start()
        ending.join(timeout=10)
        assert not ending.is_alive()


def test_a_forked_child_leaves_all_to_its_parent(supply: SupplyOf, tenant: Tenant) -> None:
    some = supply(ahead=0)
    one = some.take(everything(some))
    with some.cloner.connection() as connection:
        pid = connection.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        # A thread is in the middle of something; in the child there is no such thread.
        pool.submit(some._changed.acquire).result()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                some.give_back(one)
                some.close()
                some.cloner.close()
            os._exit(0)
        pool.submit(some._changed.release).result()
    exit_code_of(child)
    assert tenant.databases() == [one.name]
    with some.cloner.connection() as connection:
        assert connection.execute("select pg_backend_pid()").fetchone() == (pid,)
    some.give_back(one)


# --- connections ------------------------------------------------------------------------------


def sessions_in(tenant: Tenant, database: Database) -> int:
    """Count the sessions of clients: autovacuum may look in at any moment."""
    inside = f"datname = '{database.name}' and backend_type = 'client backend'"
    return int(value(tenant.admin, f"select count(*) from pg_stat_activity where {inside}"))


def connected_ahead(supply: SupplyOf, tenant: Tenant) -> tuple[Supply, Database]:
    """Give a supply that opens connections ahead, and a database to which one is open."""
    some = supply()
    some.connects = True
    some.expect(everything(some), 100)
    until(lambda: len(some._connections) == AHEAD, "the making ahead")
    taken = some.take(everything(some))
    assert sessions_in(tenant, taken) == 1
    return some, taken


def test_a_connection_that_was_opened_ahead_is_the_one_that_is_given(
    supply: SupplyOf, tenant: Tenant
) -> None:
    some, taken = connected_ahead(supply, tenant)
    with some.connection(taken) as connection:
        assert connection.autocommit
        assert sessions_in(tenant, taken) == 1
    with some.connection(taken) as another:
        assert another is not connection
    some.give_back(taken)


def test_who_wants_to_be_alone_in_a_database_is(supply: SupplyOf, tenant: Tenant) -> None:
    some, taken = connected_ahead(supply, tenant)
    some.leave(taken)
    until(lambda: sessions_in(tenant, taken) == 0, "the end of the session")
    with some.connection(taken) as connection:
        connection.execute("select 1")
    some.give_back(taken)


def test_a_fresh_database_has_nobody_in_it(supply: SupplyOf, tenant: Tenant) -> None:
    """It may become another one's template."""
    some, taken = connected_ahead(supply, tenant)
    with some.fresh(everything(some)) as fresh:
        until(lambda: sessions_in(tenant, fresh) == 0, "the end of the session")
    some.give_back(taken)


def test_what_is_kept_has_no_session_of_ours_in_it(supply: SupplyOf, tenant: Tenant) -> None:
    """A test that fails before it has its connection: the next sweep would find somebody inside."""
    some, taken = connected_ahead(supply, tenant)
    some.keep(taken, note_of_keeping("a test"))
    until(lambda: sessions_in(tenant, taken) == 0, "the end of the session")
    tenant.drop(taken.name)


def test_a_connection_that_has_died_meanwhile_is_opened_anew(
    supply: SupplyOf, tenant: Tenant
) -> None:
    some, taken = connected_ahead(supply, tenant)
    end = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{taken.name}'"
    query(tenant.admin, end)
    until(lambda: sessions_in(tenant, taken) == 0, "the end of the session")
    with some.connection(taken) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    some.give_back(taken)


@pytest.fixture
def hiding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Export a variable of libpq; tell which threads have taken it away for a while."""
    monkeypatch.setenv("PGAPPNAME", "of the test")
    threads = list[str]()
    environ = type(os.environ)
    delete = environ.__delitem__

    def watched(self: os._Environ[str], key: str) -> None:
        threads.append(threading.current_thread().name)
        delete(self, key)

    monkeypatch.setattr(environ, "__delitem__", watched)
    return threads


def test_nothing_is_hidden_from_the_process_by_a_thread(
    tenant: Tenant, tmp_path: Path, hiding: list[str]
) -> None:
    """A test may undo what it has set while a thread opens a connection: it must be gone then."""
    project = project_in(tmp_path, {"0001_a.sql": "create schema app; -- hidden from nobody"})
    some = Supply(replace(tenant.server, private=True), project)
    try:
        some.connects = True
        some.expect(everything(some), 100)
        until(lambda: everything(some) in some._held_back, "the refusal to build the template")
        for _ in range(30):
            with some.fresh(everything(some)) as database, some.connection(database) as connection:
                connection.execute("select 1")
        until(lambda: len(some._ready[everything(some)]) == AHEAD, "the making ahead")
        assert some._connections == {}
    finally:
        some.close()
    assert set(hiding) == {threading.current_thread().name}
    assert tenant.databases() == []


def test_what_a_thread_may_not_drop_is_dropped_at_the_end(
    tenant: Tenant, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was to connect for that, and a variable of libpq had been set meanwhile."""
    some = Supply(replace(tenant.server, private=True), project)
    database = some.take(NOTHING)
    some._cloners_for_threads = lambda: [  # type: ignore[method-assign]
        Cloner(some.cloner.server, project)
    ]
    some._begin()
    monkeypatch.setenv("PGAPPNAME", "of the test")
    some.give_back(database)
    until(lambda: some._left == [database.name], "the refusal")
    some.close()
    assert tenant.databases() == []


def test_a_forked_child_takes_databases_of_its_own_and_leaves_those_of_its_parent(
    supply: SupplyOf, tenant: Tenant
) -> None:
    some, taken = connected_ahead(supply, tenant)
    ready = {each.name for each in some._ready[everything(some)]}
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        with suppress(BaseException):
            own = some.take(everything(some))
            for connection in list(some._connections.values()):
                connection.close()
            os.write(write, own.name.encode())
            some.cloner.drop(own.name)
        os._exit(0)
    os.close(write)
    exit_code_of(child)
    theirs = os.read(read, 100).decode()
    assert theirs.startswith("headwater_test_")
    assert theirs not in ready | {taken.name}
    with some.connection(taken) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    some.give_back(taken)


def test_threads_that_have_nothing_to_do_hear_of_what_is_asked_for(
    supply: SupplyOf, tmp_path: Path
) -> None:
    some = supply(project_in(tmp_path, {"0001_a.sql": "create schema app;"}))
    some.expect(NOTHING, 1)
    until(lambda: len(some._ready[NOTHING]) == 1, "the making ahead")
    time.sleep(0.1)  # until they wait
    some.expect(everything(some), 2)
    until(lambda: len(some._ready[everything(some)]) == 2, "the making ahead")


def test_databases_with_seeds_are_made_ahead_once_somebody_has_made_one(
    tenant: Tenant, tmp_path: Path
) -> None:
    """A seed in Python may print: not while a test runs whose output is looked at."""
    project_in(tmp_path, {"0001_a.sql": "create schema app; create table app.t (id int);"})
    write_files(tmp_path / "seeds", {"10_t.sql": "insert into app.t values (1)"})
    some = Supply(tenant.server, project_in(tmp_path, {}))
    seeded = some.project.contents(seeded=True)
    some.expect(seeded, 10)
    some.expect(everything(some), 10)
    until(lambda: len(some._ready[everything(some)]) == AHEAD, "the making ahead")
    assert not some._ready[seeded]
    some.give_back(some.take(seeded))
    until(lambda: len(some._ready[seeded]) == AHEAD, "the making ahead")
    some.close()
    assert tenant.databases() == []
