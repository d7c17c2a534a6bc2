"""Making test databases: a template that is built once, and clones of it."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from headwater.errors import (
    FilesError,
    HalfDone,
    HeadwaterError,
    LockBusy,
    MigrationFailed,
    SeedFailed,
    TargetError,
)
from headwater.model import Event, Said, Target
from headwater.postgres import templates
from headwater.postgres.connect import connect, with_database
from headwater.postgres.databases import drop_database, scratch_database
from headwater.postgres.makers import name_with_maker
from headwater.testing import making
from headwater.testing.databases import PREFIX, Database, note_of_keeping, note_of_lending, notes_in
from headwater.testing.making import Cloner
from headwater.testing.project import NOTHING, Contents, Project, project_with
from tests.clusters import cluster
from tests.support import PATIENCE_S, query, until, value, write_files
from tests.tenants import Tenant, project_in, tenant_on

# When it was built, and by which session: two databases that say the same are of one building.
BUILT = """
create schema app;
create table app.built as select clock_timestamp() at, pg_backend_pid() pid;
"""


@pytest.fixture(scope="module")
def tenant(server: Target) -> Generator[Tenant]:
    with tenant_on(server) as made:
        yield made


@dataclass(slots=True)
class Bench:
    """Cloners of a project, with what they say; all is dropped afterwards."""

    tenant: Tenant
    project: Project
    stack: ExitStack
    said: list[str] = field(default_factory=list)

    @property
    def everything(self) -> Contents:
        return Contents(versions=self.project.versions)

    @property
    def builds(self) -> int:
        return sum(sentence.startswith("building the tests' template") for sentence in self.said)

    def workshop(self, server: Target | None = None) -> Cloner:
        """Give a workshop as another process would have it: with connections of its own."""
        return self.stack.enter_context(
            Cloner(server or self.tenant.server, self.project, notify=self.hear)
        )

    def hear(self, event: Event) -> None:
        assert isinstance(event, Said)
        self.said.append(event.message)

    def made(self) -> Database:
        return self.workshop().make(self.everything)


_numbers = itertools.count()
BenchOf = Callable[..., Bench]


@pytest.fixture
def bench(tenant: Tenant, tmp_path: Path) -> Generator[BenchOf]:
    """Make a bench of some migrations; a line of its own lets no two tests share a template."""
    with ExitStack() as stack:

        def make(files: Mapping[str, str]) -> Bench:
            own = f"-- of {tmp_path.name} {next(_numbers)}\n"
            root = tmp_path / f"project{next(_numbers)}"
            project = project_in(root, {name: own + text for name, text in files.items()})
            return Bench(tenant, project, stack)

        yield make
    tenant.drop(*tenant.databases(""))


def built(database: Database) -> object:
    return query(database.target, "select at, pid from app.built")


# --- templates --------------------------------------------------------------------------------


def test_databases_are_clones_of_one_building(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": BUILT, "0002_b.sql": "create table app.b ();"})
    workshop = here.workshop()
    first, second = workshop.make(here.everything), workshop.make(here.everything)
    third = here.made()  # another process
    assert len({first.name, second.name, third.name}) == 3
    assert built(first) == built(second) == built(third)
    assert here.builds == 1
    assert value(second.target, "select count(*) from schema_migrations") == 2
    assert here.tenant.comment(first.name).startswith("headwater: disposable\nheadwater: test ")
    workshop.drop(first.name)
    workshop.drop(first.name)  # gone already
    assert here.tenant.databases() == sorted([second.name, third.name])


def test_a_clone_holds_the_cache_that_the_first_session_of_a_database_writes(
    bench: BenchOf, tenant: Tenant
) -> None:
    """And autovacuum, which would remove it from the template, finds no table to work on there."""
    here = bench({"0001_a.sql": BUILT})
    with here.workshop() as cloner:
        made = cloner.make(here.everything)
    path = "'base/' || oid || '/pg_internal.init'"
    there = f"select (pg_stat_file({path}, true)).size > 0 from pg_database where datname = "
    assert query(tenant.admin, f"{there}'{made.name}'") == [(True,)]
    with scratch_database(tenant.admin) as scratch:
        query(scratch, "create table t as select generate_series(1, 10000) as n")
        with connect(tenant.admin, purpose="test") as connection:
            templates._visit_last(connection, scratch)
        # (What all databases share is counted for all of them.)
        counted = (
            "select sum(n_ins_since_vacuum + n_mod_since_analyze) from pg_stat_all_tables "
            "where relname in ('t', 'pg_class', 'pg_attribute', 'pg_depend')"
        )
        assert int(value(scratch, counted)) < 50


def test_many_that_start_at_once_build_one_template(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": f"select pg_sleep(0.3); {BUILT}"})
    barrier = threading.Barrier(5)

    def run(workshop: Cloner) -> Database:
        with workshop.connection():
            barrier.wait()
        return workshop.make(here.everything)

    with ThreadPoolExecutor(5) as pool:
        made = list(pool.map(run, [here.workshop() for _ in range(5)]))
    assert here.builds == 1
    assert len({str(built(database)) for database in made}) == 1
    assert len(here.tenant.templates) == 1
    assert any(sentence.startswith("waiting for process") for sentence in here.said)


def test_files_that_make_roles_are_built_once_all_the_same(bench: BenchOf, tenant: Tenant) -> None:
    """The roles that a file names are a part of the template's key: they are there afterwards."""
    role = f"{tenant.role}_app"
    here = bench(
        {
            "0001_a.sql": f"{BUILT} do $$ begin if to_regrole('{role}') is null then "
            f"create role {role}; end if; end $$; select pg_sleep(0.2);",
        }
    )
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(here.made)
        until(lambda: value(tenant.admin, f"select to_regrole('{role}') is not null"), "the role")
        second = here.made()
    assert built(first.result()) == built(second) == built(here.made())
    assert here.builds == 1


def test_who_waited_while_roles_were_made_finds_the_template(
    bench: BenchOf, tenant: Tenant
) -> None:
    here = bench({"0001_a.sql": f"{BUILT} create role {tenant.role}_late;"})
    other = here.workshop()
    with ThreadPoolExecutor(2) as pool:
        with other.connection() as connection, other._only_here(connection, here.everything):
            first, second = pool.submit(here.made), pool.submit(here.made)
            until(lambda: len(here.said) == 2, "the waiting of both")
        assert built(first.result()) == built(second.result())
    assert here.builds == 1


def test_runs_that_hold_locks_of_different_databases_clone_the_same_template(
    bench: BenchOf, tenant: Tenant
) -> None:
    """Advisory locks are a database's; two runs may name two, and both build."""
    here = bench({"0001_a.sql": f"select pg_sleep(0.3); {BUILT}"})
    other = tenant.made(f"{tenant.role}_other")
    servers = [tenant.server, with_database(tenant.server, other, "TEST_DATABASE_URL")]
    workshops = [here.workshop(server) for server in servers]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda workshop: workshop.make(here.everything), workshops))
    assert here.builds == 2  # else the test shows nothing
    later = [workshop.make(here.everything) for workshop in workshops]
    assert len({str(built(database)) for database in later}) == 1
    assert {str(built(database)) for database in made} == {str(built(later[0]))}


def test_another_content_has_another_template(bench: BenchOf) -> None:
    first = bench({"0001_a.sql": BUILT})
    second = bench({"0001_a.sql": BUILT})  # but for its comment
    assert built(first.made()) != built(second.made())
    assert len(first.tenant.templates) == 2


def test_a_template_is_built_on_that_of_the_files_before(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": BUILT, "0002_b.sql": "create table app.b ();"})
    workshop = here.workshop()
    earlier = workshop.make(Contents(versions=("0001_a",)))
    later = workshop.make(here.everything)
    assert built(earlier) == built(later)
    assert here.said == ["building the tests' template: 1 migration"] * 2
    earlier.migrate()
    assert value(earlier.target, "select count(*) from app.b") == 0


def test_a_template_that_is_swept_before_it_is_cloned_is_built_again(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": BUILT})
    workshop = here.workshop()
    before = built(workshop.make(here.everything))
    here.tenant.drop(*here.tenant.templates)
    assert built(workshop.make(here.everything)) != before
    assert here.builds == 2


def test_a_template_that_is_swept_while_the_next_is_built_on_it_is_done_without(
    bench: BenchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bench({"0001_a.sql": BUILT, "0002_b.sql": "create table app.b ();"})
    workshop = here.workshop()
    workshop.make(Contents(versions=("0001_a",)))
    looks = itertools.count(1)

    def look_and_lose(*arguments: Any) -> int:
        count = templates.longest(*arguments)
        if next(looks) == 2:  # under the lock
            here.tenant.drop(*here.tenant.templates)
        return count

    monkeypatch.setattr("headwater.testing.making.longest", look_and_lose)
    assert value(workshop.make(here.everything).target, "select count(*) from app.b") == 0


def test_a_database_of_nothing_is_empty(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": BUILT})
    empty = here.workshop().make(NOTHING)
    assert value(empty.target, "select to_regclass('public.schema_migrations') is null")
    assert here.tenant.templates == []
    empty.migrate()
    assert len(query(empty.target, "select * from app.built")) == 1


def test_files_without_a_transaction_are_cloned_too(bench: BenchOf) -> None:
    here = bench(
        {
            "0001_a.sql": f"{BUILT} create table app.t (id int);",
            "0002_b.sql": "-- headwater: no-transaction\n"
            "create index concurrently t_id on app.t (id);",
        }
    )
    assert value(
        here.made().target,
        "select indisvalid from pg_index where indexrelid = 'app.t_id'::regclass",
    )
    assert len(here.tenant.templates) == 1


# --- what a clone would not have --------------------------------------------------------------

SETS = (
    "do $$ begin execute format('alter database %I set work_mem = ''123MB''', current_database()); "
    "execute format('comment on database %I is ''of the files''', current_database()); end $$;"
)


def test_what_files_set_of_the_database_itself_is_there_though_it_is_not_cloned(
    bench: BenchOf,
) -> None:
    here = bench({"0001_a.sql": BUILT + SETS})
    workshop = here.workshop()
    lent = note_of_lending(datetime.now(UTC) + timedelta(hours=1), None)
    first, second = workshop.make(here.everything), workshop.make(here.everything, note=lent)
    for database in (first, second):
        assert value(database.target, "show work_mem") == "123MB"
    assert built(first) != built(second)
    assert here.tenant.templates == here.tenant.databases("headwater_scratch_") == []
    # The comment of the files has taken the place of ours; a sweep and reset read that.
    lines = here.tenant.comment(second.name).split("\n")
    assert lines[:2] == ["of the files", "headwater: disposable"]
    assert notes_in(here.tenant.comment(second.name)).lent_until is not None
    assert here.builds == 1


@pytest.mark.parametrize("what", ["connection limit 7", "owner to {}"])
def test_what_is_not_copied_with_a_database_makes_no_template_of_it(
    bench: BenchOf, tenant: Tenant, what: str
) -> None:
    other = f"{tenant.role}_{secrets.token_hex(4)}"
    query(tenant.admin, f"create role {other}; grant {other} to {tenant.role}")
    change = f"execute format('alter database %I {what.format(other)}', current_database());"
    here = bench({"0001_a.sql": f"{BUILT} do $$ begin {change} end $$;"})
    made = here.made()
    [facts] = query(
        made.target,
        "select datconnlimit, pg_get_userbyid(datdba) from pg_database "
        "where datname = current_database()",
    )
    assert facts in ((7, tenant.role), (-1, other))
    assert here.tenant.templates == []
    tenant.drop(made.name)


def test_a_database_that_cannot_be_filled_is_dropped(bench: BenchOf, tenant: Tenant) -> None:
    role = f"{tenant.role}_once"
    here = bench({"0001_a.sql": f"{SETS} do $$ begin create role {role}; end $$;"})
    with pytest.raises(MigrationFailed, match="0001_a"):
        here.made()  # the role is there already, when it comes to the database itself
    assert value(tenant.admin, f"select to_regrole('{role}') is not null")
    assert tenant.databases() == []


# --- files that fail --------------------------------------------------------------------------

FAILING = {
    "a statement": (MigrationFailed, "create schema app;\nselect 1/0;", "0001_a.sql:3"),
    "a post-condition": (MigrationFailed, None, "nothing is as it should be"),
    "a statement without a transaction": (
        HalfDone,
        "-- headwater: no-transaction\ncreate schema app;\nselect 1/0;",
        "0001_a.sql:4",
    ),
    "what is refused": (FilesError, "create schema app;\ncommit;", "0001_a.sql:3"),
    "what reaches beyond": (
        FilesError,
        "create schema app;\nalter database b set x.y = 1;",
        "0001_a.sql:3",
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_files_that_fail_are_told_and_not_run_for_each_test(bench: BenchOf, case: str) -> None:
    kind, text, place = FAILING[case]
    files = {"0001_a.sql": text or "create schema app;"}
    if text is None:
        files["0001_a.verify.sql"] = 'select false as "nothing is as it should be";'
    here = bench(files)
    workshop = here.workshop()
    told = set()
    for _ in range(3):
        with pytest.raises(kind) as caught:
            workshop.make(here.everything)
        told.add(in_words(caught.value))
    assert len(told) == 1
    assert place in told.pop()
    assert here.builds == (0 if "reaches beyond" in case else 1)
    assert here.tenant.databases("") == []


def in_words(error: HeadwaterError) -> str:
    findings = [f"{f.file}:{f.line}: {f.message}" for f in getattr(error, "findings", ())]
    return "\n".join([error.message, error.detail, *findings])


def test_the_same_error_again_and_again_does_not_grow(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": "select 1/0;"})
    workshop = here.workshop()
    lengths = []
    for _ in range(4):
        with pytest.raises(MigrationFailed) as caught:
            workshop.make(here.everything)
        lengths.append(len(caught.traceback))
    assert lengths[-1] == lengths[1]


# --- connections and locks --------------------------------------------------------------------


def test_a_lost_connection_is_replaced(bench: BenchOf) -> None:
    """The server was restarted, say."""
    here = bench({"0001_a.sql": BUILT})
    workshop = here.workshop()
    workshop.make(here.everything)
    with workshop.connection() as connection:
        pid = connection.info.backend_pid
    query(here.tenant.admin, f"select pg_terminate_backend({pid})")
    until(lambda: not query(here.tenant.admin, f"select 1 from pg_stat_activity where pid = {pid}"))
    assert built(workshop.make(here.everything))


def test_a_session_that_makes_databases_says_whose_it_is(bench: BenchOf) -> None:
    """By that a sweep on another machine knows that the run is at work."""
    here = bench({"0001_a.sql": BUILT})
    workshop = here.workshop()
    made = workshop.make(here.everything)
    with workshop.connection() as connection:
        pid = connection.info.backend_pid
    said = value(
        here.tenant.admin, f"select application_name from pg_stat_activity where pid = {pid}"
    )
    assert made.name.startswith(f"headwater_test_{said.removeprefix('headwater test ')}_")


def test_who_waits_for_the_lock_says_for_whom_and_goes_on_when_it_is_free(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": BUILT})
    other = here.workshop()
    with ThreadPoolExecutor(1) as pool:
        with other.connection() as connection, other._only_here(connection, here.everything):
            pid = connection.info.backend_pid
            waiting = pool.submit(here.made)
            until(lambda: here.said, "the waiting")
            assert here.said[0].startswith(f"waiting for process {pid} (headwater test ")
            assert not waiting.done()
        assert built(waiting.result(timeout=30))
    assert len(here.said) == 2


def test_who_waits_too_long_is_told_who_holds_the_lock(
    bench: BenchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bench({"0001_a.sql": BUILT})
    other = here.workshop()
    monkeypatch.setattr(making, "_LONGEST_BUILD_S", 0.05)
    with (
        other.connection() as connection,
        other._only_here(connection, here.everything),
        pytest.raises(LockBusy) as caught,
    ):
        here.made()
    assert f"process {connection.info.backend_pid}" in caught.value.detail
    assert built(here.made())


def test_who_has_given_up_waits_no_longer(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": BUILT})
    other, given_up = here.workshop(), threading.Event()
    late = Cloner(here.tenant.server, here.project, notify=here.hear, given_up=given_up)
    with (
        late,
        ThreadPoolExecutor(1) as pool,
        other.connection() as connection,
        other._only_here(connection, here.everything),
    ):
        waiting = pool.submit(late.make, here.everything)
        until(lambda: here.said, "the waiting")
        given_up.set()
        with pytest.raises(LockBusy, match="nobody needs"):
            waiting.result(timeout=10)


def test_a_killed_builder_holds_up_nobody(bench: BenchOf, tenant: Tenant) -> None:
    here = bench({"0001_a.sql": f"select pg_sleep(1); {BUILT}"})
    with ThreadPoolExecutor(1) as pool:
        building = here.workshop()
        failing = pool.submit(building.make, here.everything)
        until(lambda: here.builds, "the building")
        query(
            tenant.admin,
            "select pg_terminate_backend(pid) from pg_stat_activity "
            f"where usename = '{tenant.role}'",
        )
        assert built(failing.result(timeout=PATIENCE_S))  # by a new session
    assert built(here.made())
    assert here.tenant.databases("headwater_scratch_") == []


def test_a_line_is_added_to_the_comment_once(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": BUILT})
    workshop = here.workshop()
    made = workshop.make(here.everything)
    before = here.tenant.comment(made.name)
    note = note_of_keeping("a test")
    workshop.add_note(made.name, note)
    workshop.add_note(made.name, note)
    assert here.tenant.comment(made.name) == f"{before}\n{note}"


def test_a_note_on_what_is_gone_is_an_error(bench: BenchOf) -> None:
    with pytest.raises(TargetError, match="no database headwater_test_gone"):
        bench({"0001_a.sql": BUILT}).workshop().add_note("headwater_test_gone", "a note")


# --- strategy ---------------------------------------------------------------------------------


def test_files_are_copied_where_nothing_is_flushed_and_elsewhere_the_server_chooses(
    tmp_path: Path,
) -> None:
    project = project_in(tmp_path, {"0001_a.sql": BUILT})
    wanted = Contents(versions=project.versions)
    with cluster({"log_statement": "ddl"}) as place:
        asked = place.target()
        with Cloner(asked, project) as workshop:
            workshop.make(wanted)
        place.sql("alter system set fsync = on", "select pg_reload_conf()")
        until(lambda: value(asked, "show fsync") == "on")
        with Cloner(asked, project) as workshop:
            workshop.make(wanted)
        log = (place.folder / "server.log").read_text()
    clones = [line for line in log.splitlines() if 'CREATE DATABASE "headwater_test_' in line]
    assert [line.endswith("STRATEGY file_copy") for line in clones] == [True, False]


# --- seeds ------------------------------------------------------------------------------------


def seeded_bench(bench: BenchOf, text: str) -> tuple[Bench, Contents]:
    """Give a bench with one seed, and what a database of it with that seed holds."""
    here = bench({"0001_a.sql": "create schema app; create table app.a (i int primary key);"})
    write_seed(here, text)
    return here, Contents(versions=here.project.versions, seeded=True)


def write_seed(here: Bench, text: str) -> None:
    write_files(here.project.settings.root / "seeds", {"10_one.sql": text})
    here.project = project_with(here.project.settings)


def rows(database: Database) -> list[tuple[Any, ...]]:
    return query(database.target, "select i from app.a")


def test_seeds_are_in_the_template_of_who_asks_for_them(bench: BenchOf) -> None:
    here, seeded = seeded_bench(bench, "insert into app.a values (1)")
    workshop = here.workshop()
    for _ in range(2):
        assert rows(workshop.make(seeded)) == [(1,)]
        assert rows(workshop.make(here.everything)) == []
    assert here.builds == 2


def test_other_seeds_make_another_template_from_the_same_build(bench: BenchOf) -> None:
    here, seeded = seeded_bench(bench, "insert into app.a values (1)")
    assert rows(here.workshop().make(here.everything)) == []
    assert rows(here.workshop().make(seeded)) == [(1,)]
    write_files(
        here.project.settings.root / "seeds", {"10_one.sql": "insert into app.a values (2)"}
    )
    here.project = project_with(here.project.settings)
    assert rows(here.workshop().make(seeded)) == [(2,)]
    assert [said for said in here.said if "building" in said] == [
        "building the tests' template: 1 migration",
        "building the tests' template: 0 migrations, and the seeds",
        "building the tests' template: 0 migrations, and the seeds",
    ]


def test_a_role_that_a_seed_names_is_a_part_of_what_its_template_is(bench: BenchOf) -> None:
    here, seeded = seeded_bench(bench, "")
    role = f"{here.tenant.role}_demo"
    write_seed(here, f"insert into app.a select count(*) from pg_roles where rolname = '{role}'")
    assert rows(here.workshop().make(seeded)) == [(0,)]
    query(here.tenant.admin, f"create role {role}")
    assert rows(here.workshop().make(seeded)) == [(1,)]


def test_a_seed_that_fails_is_told_with_its_line_and_nobody_else_misses_anything(
    bench: BenchOf,
) -> None:
    here, seeded = seeded_bench(bench, "\ninsert into app.b values (1)")
    workshop = here.workshop()
    for _ in range(2):
        with pytest.raises(SeedFailed) as caught:
            workshop.make(seeded)
        assert caught.value.finding.line == 2
    assert rows(workshop.make(here.everything)) == []


def test_seeds_that_are_not_there_are_missed(bench: BenchOf) -> None:
    here = bench({"0001_a.sql": BUILT})
    with pytest.raises(FilesError):
        here.workshop().make(Contents(versions=here.project.versions, seeded=True))


# --- dropping ---------------------------------------------------------------------------------


def test_a_superuser_inside_is_waited_for_and_our_own_sessions_are_ended(tenant: Tenant) -> None:
    """As autovacuum is: whom a role that is none may not end."""
    name = tenant.made(name_with_maker(PREFIX))
    theirs = psycopg.connect(make_conninfo(tenant.admin.conninfo, dbname=name))
    ours = psycopg.connect(tenant.to(name))
    leaving = threading.Timer(0.3, theirs.close)
    leaving.start()
    with connect(tenant.server, purpose="test") as connection:
        drop_database(connection, name)
    leaving.join()
    ours.close()
    assert name not in tenant.databases()
