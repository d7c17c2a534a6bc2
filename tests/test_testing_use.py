"""A test database without pytest: a context manager, for as long as its body runs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import unittest
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from headwater.errors import MigrationFailed, SettingsError, Unreachable
from headwater.model import Target
from headwater.settings import load_settings
from headwater.testing import database, use
from headwater.testing.databases import notes_in
from headwater.testing.servers import server_for_tests
from tests.projects import ROOT
from tests.support import query, tables, value, write_files
from tests.tenants import Tenant, project_in, tenant_on

FILES = {
    "0001_a.sql": "create schema app; create table app.a ();",
    "0002_b.sql": "create table app.b ();",
}


@pytest.fixture(scope="module")
def module_tenant(server: Target) -> Generator[Tenant]:
    with tenant_on(server) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    project_in(root, FILES)
    (root / "deep/below").mkdir(parents=True)
    return root


@pytest.fixture
def tenant(
    module_tenant: Tenant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Tenant]:
    """Stand in a project whose tests use the tenant's server; all that is left is dropped."""
    monkeypatch.setenv("TEST_DATABASE_URL", module_tenant.url)
    monkeypatch.setattr(use, "_supplies", {})
    monkeypatch.chdir(folder / "deep/below")
    yield module_tenant
    module_tenant.drop(*left_in(module_tenant))


def left_in(tenant: Tenant) -> list[str]:
    """End the run as the process would, and give what is left."""
    for supply in use._supplies.values():
        supply.close()
    return tenant.databases()


def test_a_database_is_there_while_the_body_runs(tenant: Tenant) -> None:
    with database() as db, db.connect() as connection:
        connection.execute("insert into app.a default values")
        assert tables(db.target) == ["a", "b"]
        assert tenant.databases() == [db.name]
    assert tenant.databases() == []


def test_files_that_were_edited_meanwhile_are_read_again(tenant: Tenant, tmp_path: Path) -> None:
    """At a prompt, say; what was given out before is dropped all the same."""
    project_in(tmp_path, FILES | {"0003_c.sql": "create table app.nosuch.c ();"})
    with pytest.raises(MigrationFailed):
        database(root=tmp_path).__enter__()
    project_in(tmp_path, FILES)
    (tmp_path / "migrations/0003_c.sql").unlink()
    with database(root=tmp_path) as before:
        project_in(tmp_path, FILES | {"0003_c.sql": "create table app.c ();"})
        with database(root=tmp_path) as after:
            assert tables(before.target) == ["a", "b"]
            assert tables(after.target) == ["a", "b", "c"]
    assert tenant.databases() == []


def test_seeds_that_were_edited_are_read_again_and_what_else_is_written_is_nobodys_business(
    tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_in(tmp_path, FILES)
    monkeypatch.chdir(tmp_path)

    def rows(number: int) -> int:
        seed = f"insert into app.a select from generate_series(1, {number});"
        write_files(tmp_path / "seeds", {"10_a.sql": f"-- {number}\ndelete from app.a;\n{seed}\n"})
        with database(seeded=True) as db:
            return int(value(db.target, "select count(*) from app.a"))

    assert (rows(1), rows(22)) == (1, 22)
    before = list(use._supplies.values())
    write_files(tmp_path, {"a.log": "a line"})
    with database():
        assert list(use._supplies.values()) == before


def test_a_server_that_is_another_one_now_is_found(tenant: Tenant, folder: Path) -> None:
    with database():
        pass
    [supply] = use._supplies.values()
    supply.close()
    supply.cloner.server = replace(supply.cloner.server, conninfo="host=127.0.0.1 port=1")
    with pytest.raises(Unreachable):
        database().__enter__()
    with database() as found:
        assert tables(found.target) == ["a", "b"]


def test_an_earlier_version_and_nothing_at_all_can_be_asked_for(
    tenant: Tenant, folder: Path
) -> None:
    with (
        database(at="0001_a") as at,
        database(at="0002_b", before=True) as before,
        database(empty=True) as empty,
        database(root=str(folder)) as whole,
    ):
        assert [tables(each.target) for each in (at, before, empty, whole)] == [
            ["a"],
            ["a"],
            [],
            ["a", "b"],
        ]
        before.migrate(to="0002_b")
        assert tables(before.target) == ["a", "b"]
    assert left_in(tenant) == []


def test_a_version_without_a_file_is_refused(tenant: Tenant) -> None:
    with pytest.raises(SettingsError, match="no migration '0003'"), database(at="0003"):
        pass
    assert left_in(tenant) == []


def insert_and_raise(error: BaseException) -> None:
    with database() as db:
        query(db.target, "insert into app.a default values")
        raise error


@pytest.mark.parametrize("error", [AssertionError("no"), pytest.fail.Exception("no")])
def test_a_body_that_fails_keeps_its_database_and_says_where(
    tenant: Tenant, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught:
        insert_and_raise(error)
    [kept] = left_in(tenant)
    assert notes_in(tenant.comment(kept)).kept_at
    [note] = caught.value.__notes__
    assert f"invoke db.psql --test {kept}" in note
    assert f"/{kept}" in note
    assert tenant.password not in note
    assert query(tenant.to(kept), "select count(*) from app.a") == [(1,)]


@pytest.mark.parametrize(
    "error",
    [unittest.SkipTest("no"), pytest.skip.Exception("no"), KeyboardInterrupt(), SystemExit(0)],
)
def test_a_body_that_is_skipped_or_interrupted_keeps_nothing(
    tenant: Tenant, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught, database():
        raise error
    assert left_in(tenant) == []
    assert not hasattr(caught.value, "__notes__")


def test_what_cannot_be_kept_is_said(tenant: Tenant) -> None:
    with pytest.raises(psycopg.Error) as caught:
        drop_and_enter(tenant)
    [note] = caught.value.__notes__
    assert "could not be kept: there is no database headwater_test_" in note


def drop_and_enter(tenant: Tenant) -> None:
    with database() as db:
        tenant.drop(db.name)
        query(db.target, "select 1")


def test_threads_have_databases_of_their_own_from_one_supply(tenant: Tenant) -> None:
    def run(_: int) -> str:
        with database() as db:
            assert tables(db.target) == ["a", "b"]
            return db.name

    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(run, range(12)))
    assert len(set(names)) == 12
    assert len(use._supplies) == 1


def test_a_migration_that_fails_is_what_is_raised(tenant: Tenant, tmp_path: Path) -> None:
    project_in(tmp_path, {"0001_a.sql": "select 1/0;"})
    with pytest.raises(MigrationFailed, match="0001_a"), database(root=tmp_path):
        pass


def test_a_server_that_is_not_there_is_told_without_its_password(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql://me:canary@127.0.0.1:1/app")
    with pytest.raises(Unreachable) as caught, database():
        pass
    assert "canary" not in f"{caught.value.message}{caught.value.detail}{caught.value.hint}"


def test_the_private_server_is_used_unless_another_one_is_named(
    tenant: Tenant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never that of DATABASE_URL."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@127.0.0.1:1/app")
    assert server_for_tests(load_settings(folder)).user == tenant.role
    monkeypatch.delenv("TEST_DATABASE_URL")
    monkeypatch.setattr("headwater.testing.servers.private_target", lambda *_: tenant.server)
    chosen = server_for_tests(load_settings(folder))
    assert (chosen.database, chosen.source) == ("postgres", "private server")


# --- processes of their own -------------------------------------------------------------------

PREFACE = """
import os, sys, unittest
from headwater.testing import database, use
"""


def run(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREFACE + textwrap.dedent(script), *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "lib")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_end_of_the_process_drops_what_was_made_ahead(tenant: Tenant, folder: Path) -> None:
    ended = run(
        """
        for _ in range(3):
            with database() as db:
                print(db.name)
        [supply] = use._supplies.values()
        with supply._changed:
            supply._changed.wait_for(lambda: any(supply._ready.values()), 20)
        print(sum(map(len, supply._ready.values())) > 0)
        """,
        folder,
    )
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[3:] == ["True"]
    assert tenant.databases() == []


def test_a_forked_child_has_a_supply_of_its_own_and_leaves_its_parents_alone(
    tenant: Tenant, folder: Path
) -> None:
    """It ends as processes do: with its own atexit, and by closing whatever is open."""
    ended = run(
        """
        def backend():
            [supply] = [s for (pid, _), s in use._supplies.items() if pid == os.getpid()]
            with supply.cloner.connection() as connection:
                return connection.execute("select pg_backend_pid()").fetchone()

        with database() as db:
            before = backend()
            child = os.fork()
            if child == 0:
                with database() as mine:
                    assert mine.name != db.name
                sys.exit(0)  # through the parent's `with` as well
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert backend() == before, "the child has closed the parent's connection"
            with db.connect() as connection:
                print(connection.execute("select count(*) from app.a").fetchone())
        """,
        folder,
    )
    assert (ended.stdout, ended.stderr) == ("(0,)\n", "")
    assert tenant.databases() == []


def test_a_test_of_unittest_keeps_its_database_when_it_fails(tenant: Tenant, folder: Path) -> None:
    ended = run(
        """
        class Tests(unittest.TestCase):
            def test_good(self):
                with database() as db, db.connect() as connection:
                    connection.execute("insert into app.a default values")
            def test_skipped(self):
                with database():
                    self.skipTest("no")
            def test_failing(self):
                with database() as db:
                    self.assertEqual(db.name, "")
        unittest.main()
        """,
        folder,
    )
    assert "FAILED (failures=1, skipped=1)" in ended.stderr
    [kept] = tenant.databases()
    assert f"invoke db.psql --test {kept}" in ended.stderr
    assert query(tenant.to(kept), "select count(*) from app.b") == [(0,)]
