"""The plugin, in projects of its own: what their tests are given, told, and left with."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from headwater import pytest_plugin
from headwater.model import Target
from headwater.testing import supply
from headwater.testing.databases import notes_in
from tests.listeners import listening
from tests.projects import ROOT, Project
from tests.support import query, write_files
from tests.tenants import Tenant, tenant_on

pytest_plugins = ["pytester"]

MIGRATIONS = {
    "0001_people.sql": (
        "create schema app;\ncreate table app.people (id int primary key, name text);"
    ),
    "0002_first_names.sql": (
        "alter table app.people add first_name text;\n"
        "update app.people set first_name = split_part(name, ' ', 1);"
    ),
}
CONFIGURATION = '[tool.headwater]\nschemas = ["app"]\n'

# Here only ours and pytest's own plugins count; they cost seconds.
_QUIET = (
    "-p",
    "no:randomly",
    "-p",
    "no:hypothesispytest",
    "-p",
    "no:xdist",
    "-p",
    "no:cacheprovider",
)


@pytest.fixture(scope="module")
def module_tenant(server: Target) -> Generator[Tenant]:
    with tenant_on(server) as made:
        yield made


@pytest.fixture
def tenant(module_tenant: Tenant) -> Generator[Tenant]:
    yield module_tenant
    module_tenant.drop(*module_tenant.databases())


@dataclass(frozen=True, slots=True)
class Suite:
    """A project with tests."""

    pytester: pytest.Pytester
    tenant: Tenant

    @property
    def root(self) -> Path:
        return self.pytester.path

    def write(self, **modules: str) -> None:
        """Write its modules of tests."""
        write_files(
            self.root, {f"{name}.py": textwrap.dedent(text) for name, text in modules.items()}
        )

    def migrations(self, files: Mapping[str, str]) -> None:
        shutil.rmtree(self.root / "migrations", ignore_errors=True)
        write_files(self.root / "migrations", dict(files))

    def configure(self, text: str) -> None:
        write_files(self.root, {"pyproject.toml": CONFIGURATION + text})

    def run(self, *arguments: str, **outcomes: int) -> str:
        """Run the tests in this process; require what came of them, and give what was printed."""
        ran = self.pytester.runpytest_inprocess(*_QUIET, *arguments)
        ran.assert_outcomes(**outcomes)
        told = "\n".join([*ran.outlines, *ran.errlines])
        assert self.tenant.password not in told
        return told

    def run_apart(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the tests in a process of their own, with every plugin."""
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=self.root,
            env=environment_of(self.tenant) | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    @property
    def left(self) -> list[str]:
        return self.tenant.databases()


def environment_of(tenant: Tenant) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST_", "PG", "DATABASE"))}
    return kept | {"PYTHONPATH": str(ROOT / "lib"), "TEST_DATABASE_URL": tenant.url}


@pytest.fixture
def suite(pytester: pytest.Pytester, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> Suite:
    for name in [*os.environ]:
        if name.startswith("PG") or name in ("DATABASE_URL", "PYTEST_ADDOPTS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TEST_DATABASE_URL", tenant.url)
    made = Suite(pytester, tenant)
    made.migrations(MIGRATIONS)
    made.configure("")
    return made


# --- the fixtures -----------------------------------------------------------------------------


def test_every_fixture_gives_what_it_says(suite: Suite) -> None:
    suite.write(
        test_first="""
        import psycopg, pytest

        names = []

        @pytest.mark.parametrize("number", range(3))
        def test_alone(database, connection, database_url, number):
            names.append(database.name)
            assert len(set(names)) == number + 1
            assert connection.autocommit
            connection.execute("insert into app.people values (1, 'A B')")
            with psycopg.connect(database_url) as another:
                assert another.info.dbname == database.name
                assert another.execute("select count(*) from app.people").fetchone() == (1,)

        def test_nothing(empty_database):
            with empty_database.connect() as connection:
                assert connection.execute("select to_regnamespace('app')").fetchone() == (None,)

        def test_a_migration_with_rows_in_place(database_at):
            earlier = database_at("0002_first_names", before=True)
            with earlier.connect() as connection:
                connection.execute("insert into app.people values (1, 'A B')")
                earlier.migrate(to="0002_first_names")
                asked = connection.execute("select first_name from app.people")
                assert asked.fetchall() == [("A",)]
            at = database_at("0001_people")
            assert at.name != earlier.name
            with at.connect() as connection, pytest.raises(psycopg.errors.UndefinedColumn):
                connection.execute("select first_name from app.people")
            whole = database_at("0002_first_names")
            with whole.connect() as connection:
                connection.execute("select first_name from app.people")

        def test_module_one(module_database, module_connection):
            module_connection.execute("insert into app.people values (1, 'A B')")
            names.append(module_database.name)

        def test_module_two(module_database, module_connection, session_connection):
            assert module_database.name == names[-1]
            asked = module_connection.execute("select count(*) from app.people")
            assert asked.fetchone() == (1,)
            session_connection.execute("insert into app.people values (2, 'C D')")
        """,
        test_second="""
        from test_first import names

        def test_another_module(module_database, session_database, session_connection):
            assert module_database.name not in names
            assert session_database.name not in names
            asked = session_connection.execute("select id from app.people")
            assert asked.fetchall() == [(2,)]
        """,
    )
    suite.run(passed=8)
    assert suite.left == []


def test_a_version_that_has_no_file_fails_the_test_that_asks(suite: Suite) -> None:
    suite.write(
        test_it="""
        def test_it(database_at):
            database_at("0003_gone")
        """
    )
    told = suite.run(failed=1)
    assert "no test database: there is no migration '0003_gone'" in told
    assert "known: 0001_people, 0002_first_names" in told
    assert "Traceback" not in told
    assert "headwater/testing" not in told


def test_who_does_not_ask_for_a_connection_is_alone_in_the_database(suite: Suite) -> None:
    suite.write(
        test_alone="""
        import time
        import pytest

        @pytest.mark.parametrize("n", range(8))
        def test_connected(connection, n):
            assert connection.execute("select count(*) from app.people").fetchone() == (0,)

        @pytest.mark.parametrize("n", range(4))
        def test_alone(database, n):
            with database.connect() as connection:
                deadline = time.monotonic() + 10  # a session that was closed takes a moment to go
                while others(connection) and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert not others(connection)

        def others(connection):
            [(found,)] = connection.execute(
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and pid <> pg_backend_pid() and backend_type = 'client backend'"
            )
            return found
        """
    )
    suite.run(passed=12)
    assert suite.left == []


def test_who_closes_the_rolled_back_connection_costs_its_database(suite: Suite) -> None:
    suite.write(
        test_closing="""
        def test_a(rolled_back_connection):
            rolled_back_connection.execute("commit")
            rolled_back_connection.execute("insert into app.people (id) values (1)")
            rolled_back_connection.close()

        def test_b(rolled_back_connection):
            found = rolled_back_connection.execute("select count(*) from app.people")
            assert found.fetchone() == (0,)
        """
    )
    suite.run(passed=2)
    assert suite.left == []


def test_a_session_that_the_server_has_ended_costs_the_shared_database(suite: Suite) -> None:
    suite.write(
        test_ended="""
        def test_a(rolled_back_connection, database):
            rolled_back_connection.execute("commit")
            rolled_back_connection.execute("insert into app.people (id) values (1)")
            pid = rolled_back_connection.info.backend_pid
            with database.connect() as other:
                other.execute("select pg_terminate_backend(%s, 5000)", (pid,))

        def test_b(rolled_back_connection):
            found = rolled_back_connection.execute("select count(*) from app.people")
            assert found.fetchone() == (0,)
        """
    )
    suite.run(passed=2)
    assert suite.left == []


def test_a_shared_database_that_is_gone_fails_one_test_in_plain_words(suite: Suite) -> None:
    suite.write(
        test_gone="""
        names = []

        def test_a(rolled_back_connection):
            names.append(rolled_back_connection.info.dbname)

        def test_b(connection):
            connection.execute(f'drop database "{names[0]}" with (force)')

        def test_c(rolled_back_connection):
            pass

        def test_d(rolled_back_connection):
            pass
        """
    )
    told = suite.run(passed=3, errors=1)
    assert "no test database: no connection to " in told
    assert "Unreachable" not in told
    assert suite.left == []


def test_a_connection_begins_behind_the_fixtures_that_have_its_database(suite: Suite) -> None:
    """One that is opened ahead would not know what they have set of the database."""
    suite.write(
        test_path="""
        import pytest

        @pytest.fixture
        def path(database):
            with database.connect() as connection:
                connection.execute(f'alter database "{database.name}" set search_path = app')

        @pytest.mark.parametrize("n", range(6))
        def test_path(path, connection, n):
            assert connection.execute("show search_path").fetchone() == ("app",)

        class TestOverriding:
            @pytest.fixture
            def path(self, path):
                return path

            @pytest.mark.parametrize("n", range(6))
            def test_path(self, path, connection, n):
                assert connection.execute("show search_path").fetchone() == ("app",)

        @pytest.mark.parametrize("n", range(20))
        def test_plain(connection, n):  # most tests are, and so connections are opened ahead
            pass
        """
    )
    suite.run(passed=32)


def test_a_connection_of_the_projects_own_is_the_only_one(suite: Suite) -> None:
    suite.write(
        conftest="""
        import psycopg, pytest

        @pytest.fixture
        def connection(database_url):
            with psycopg.connect(database_url) as connection:
                yield connection
        """,
        test_own="""
        import pytest

        @pytest.mark.parametrize("n", range(6))
        def test_own(connection, n):
            inside = "datname = current_database() and backend_type = 'client backend'"
            found = connection.execute(f"select count(*) from pg_stat_activity where {inside}")
            assert found.fetchone() == (1,)
        """,
    )
    suite.run(passed=6)


# --- seeds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wide", "instead"),
    [("module", "pytestmark of the module"), ("session", "headwater_seeded = true")],
)
def test_a_mark_that_puts_rows_nowhere_fails_the_test(
    suite: Suite, wide: str, instead: str
) -> None:
    write_files(suite.root / "seeds", {"10_none.sql": "delete from app.people where false;"})
    suite.write(
        test_marked=f"""
        import pytest

        @pytest.mark.seeded
        def test_marked({wide}_connection):
            pass

        def test_not_marked({wide}_connection):
            pass

        @pytest.mark.seeded
        def test_with_its_own({wide}_connection, database):
            pass

        @pytest.mark.skip
        @pytest.mark.seeded
        def test_skipped({wide}_connection):
            pass
        """
    )
    told = suite.run(passed=2, errors=1, skipped=1)
    assert f"it puts no rows into {wide}_database, which others share: {instead} does" in told


SEEDED = """
    import pytest

    def people(db):
        with db.connect() as connection:
            return connection.execute("select count(*) from app.people").fetchone()[0]

    @pytest.mark.seeded
    @pytest.mark.parametrize("n", range(3))
    def test_with(database, rolled_back_connection, n):
        [(found,)] = rolled_back_connection.execute("select count(*) from app.people").fetchall()
        assert people(database) == found == 2

    @pytest.mark.parametrize("n", range(3))
    def test_without(database, rolled_back_connection, n):
        [(found,)] = rolled_back_connection.execute("select count(*) from app.people").fetchall()
        assert people(database) == found == EXPECTED

    def test_earlier(database_at):
        assert people(database_at("0001_people")) == 0
        assert people(database_at("0002_first_names", seeded=True)) == 2

    def test_of_all(session_database):
        assert people(session_database) == EXPECTED
"""
SEEDED_MODULE = """
    import pytest
    pytestmark = pytest.mark.seeded

    def test_of_a_module(module_connection):
        assert module_connection.execute("select count(*) from app.people").fetchone() == (2,)
"""


def with_seeds(suite: Suite) -> Suite:
    text = "insert into app.people (id, name) values (1, 'Ada'), (2, 'Joan') on conflict do nothing"
    write_files(suite.root / "seeds", {"10_people.sql": text})
    return suite


def test_who_asks_for_the_seeds_has_their_rows_and_nobody_else(suite: Suite) -> None:
    with_seeds(suite).write(test_rows=SEEDED.replace("EXPECTED", "0"), test_module=SEEDED_MODULE)
    suite.run("--strict-markers", passed=9)
    assert suite.left == []


def test_a_project_can_have_the_seeds_in_every_database(suite: Suite) -> None:
    with_seeds(suite).configure("[tool.pytest.ini_options]\nheadwater_seeded = true\n")
    suite.write(test_rows=SEEDED.replace("EXPECTED", "2"), test_module=SEEDED_MODULE)
    suite.run(passed=9)
    assert suite.left == []


def test_a_seed_that_fails_is_told_with_its_line(suite: Suite) -> None:
    write_files(suite.root / "seeds", {"10_people.sql": "\ninsert into app.nobody values (1)"})
    suite.write(
        test_rows="""
        import pytest

        @pytest.mark.seeded
        def test_a(database): pass

        def test_b(database): pass
        """
    )
    told = suite.run(passed=1, errors=1)
    assert "10_people.sql" in told
    assert "line 2" in told or ":2" in told


# --- evidence ---------------------------------------------------------------------------------

FAILING = """
import pytest

def test_bad(connection):
    connection.execute("insert into app.people values (42, 'evidence')")
    assert False, "no"

def test_good(connection):
    pass

def test_skipped(connection):
    pytest.skip("no")

@pytest.mark.xfail
def test_expected(connection):
    assert False
"""


def test_a_failing_test_keeps_its_database_and_prints_what_opens_it(suite: Suite) -> None:
    shutil.copy(ROOT / "tasks.py", suite.root)
    suite.write(test_it=FAILING)
    told = suite.run(passed=1, failed=1, skipped=1, xfailed=1)
    [name] = suite.left
    assert f"the database of this test is kept: postgresql://{suite.tenant.role}@" in told
    [command] = re.findall(r"look into it: +invoke (.*)", told)
    shown = Project(suite.root).invoke(
        f"{command} --command 'select name from app.people where id = 42'",
        TEST_DATABASE_URL=suite.tenant.url,
    )
    shown.said("evidence")
    comment = suite.tenant.comment(name)
    assert notes_in(comment).kept_at
    assert "for test_it.py::test_bad" in comment
    [command] = re.findall(r"drop it: +invoke (.*)", told)
    Project(suite.root).invoke(command, TEST_DATABASE_URL=suite.tenant.url)
    assert suite.left == []


def test_every_database_that_a_failed_test_could_use_is_kept(suite: Suite) -> None:
    suite.write(
        test_it="""
        import pytest

        @pytest.fixture
        def broken(database):
            raise ValueError

        def test_setup(broken):
            pass

        def test_many(database_at, module_connection, session_connection):
            database_at("0001_people")
            database_at("0002_first_names")
            module_connection.execute("insert into app.people values (1, 'A B')")
            assert False

        def test_module_again(module_connection):
            assert False

        def test_of_its_own(database):
            assert False
        """
    )
    told = suite.run(failed=3, errors=1)
    # One of the setup, two by version, the module's, the session's, one of the last test.
    assert len(suite.left) == 6
    assert told.count("the database of this test is kept") == 7  # the module's twice


def test_nobody_or_everybody_keeps_it_when_that_is_said(suite: Suite) -> None:
    suite.write(test_it=FAILING)
    told = suite.run("--headwater-keep=never", passed=1, failed=1, skipped=1, xfailed=1)
    assert "kept" not in told
    assert suite.left == []
    told = suite.run("--headwater-keep=always", passed=1, failed=1, skipped=1, xfailed=1)
    assert len(suite.left) == 4
    assert told.count("is kept: ") == 4
    assert "test_it.py::test_good: the database of this test is kept" in told
    assert all(name in told for name in suite.left)


def test_no_more_are_kept_than_anybody_looks_into(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pytest_plugin._MOST_EVIDENCE == 20
    monkeypatch.setattr(pytest_plugin, "_MOST_EVIDENCE", 2)
    suite.write(
        test_it="""
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(database, number):
            assert False
        """
    )
    told = suite.run(failed=4)
    assert len(suite.left) == 2
    assert told.count("2 databases are kept already; that of this test is not") == 2


def test_workers_share_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        workerinput: Mapping[str, int] = {"workercount": 8}

    shares = [pytest_plugin._share_of_evidence(Config)]  # type: ignore[arg-type]
    Config.workerinput = {"workercount": 100}
    shares += [pytest_plugin._share_of_evidence(Config)]  # type: ignore[arg-type]
    assert shares == [2, 1]


def test_what_cannot_be_kept_is_told(suite: Suite) -> None:
    suite.write(
        test_it="""
        import os, psycopg

        def test_it(database):
            with psycopg.connect(os.environ["TEST_DATABASE_URL"], autocommit=True) as connection:
                connection.execute(f"drop database {database.name}")
            assert False
        """
    )
    told = suite.run(failed=1)
    assert "the database of this test could not be kept: there is no database" in told
    assert "invoke db.psql" not in told


# --- errors -----------------------------------------------------------------------------------

ASKING = """
def test_one(database):
    pass

def test_two(connection):
    pass

def test_three(rolled_back_connection):
    pass

def test_none():
    pass
"""


def told_of_errors(suite: Suite, *arguments: str) -> str:
    """Run tests that get no database; each of them is told why, and not shown our code."""
    suite.write(test_it=ASKING)
    told = suite.run(*arguments, errors=3, passed=1)
    assert "Traceback" not in told
    assert "headwater/" not in told.replace(str(suite.root), "")
    assert told.count("no test database: ") >= 3
    assert suite.left == []
    return told


def test_a_broken_migration_is_told_with_its_place(suite: Suite) -> None:
    suite.migrations({"0001_a.sql": "create schema app;\nselect 1/0;\n"})
    told = told_of_errors(suite)
    assert "0001_a.sql:2" in told
    assert "division by zero" in told


def test_files_that_are_refused_are_told_with_their_places(suite: Suite) -> None:
    suite.migrations({"0001_a.sql": "create schema app;\ncommit;\n"})
    assert "0001_a.sql:2: " in told_of_errors(suite)


def test_where_there_is_no_project_the_setting_is_named(suite: Suite) -> None:
    (suite.root / "pyproject.toml").unlink()
    told = told_of_errors(suite)
    assert "no project of Headwater at" in told
    assert "hint: for pytest, name its folder: headwater_root" in told


def test_a_server_that_does_not_answer_is_told_without_its_password(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.pytest_plugin._RETRY_S", 600.0)
    with listening() as listener:
        monkeypatch.setenv("TEST_DATABASE_URL", listener.url("canary"))
        told = told_of_errors(suite)
        seen = len(listener.seen)
    assert "no connection to app at me@127.0.0.1" in told
    assert "canary" not in told
    assert seen == 1, "each test has tried it anew"


def test_a_setting_that_is_wrong_is_told(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", "mysql://me:canary@there/app")
    told = told_of_errors(suite)
    assert "TEST_DATABASE_URL" in told
    assert "canary" not in told


# --- settings ---------------------------------------------------------------------------------


def test_the_project_may_be_elsewhere(suite: Suite) -> None:
    elsewhere = suite.root / "server/db"
    elsewhere.mkdir(parents=True)
    for name in ("migrations", "pyproject.toml"):
        (suite.root / name).rename(elsewhere / name)
    write_files(suite.root, {"pytest.ini": "[pytest]\nheadwater_root = server/db\n"})
    suite.write(test_it=ASKING)
    suite.run(passed=4)
    write_files(suite.root, {"pytest.ini": "[pytest]\nheadwater_root = server/nowhere\n"})
    assert "server/nowhere" in told_of_errors(suite)


def test_the_role_of_the_application_is_that_of_the_project_elsewhere(suite: Suite) -> None:
    suite.configure("application_role = 'web_user'\n")
    elsewhere = suite.root / "server/db"
    elsewhere.mkdir(parents=True)
    for name in ("migrations", "pyproject.toml"):
        (suite.root / name).rename(elsewhere / name)
    write_files(suite.root, {"pytest.ini": "[pytest]\nheadwater_root = server/db\n"})
    suite.write(
        test_it="""
        import pytest
        from headwater.errors import TargetError
        from headwater.testing import as_application

        def test_it(connection, rolled_back_connection, module_connection):
            for each in (connection, rolled_back_connection, module_connection):
                with pytest.raises(TargetError, match="role web_user does not exist"):
                    with as_application(each, organization=None):
                        pass
        """
    )
    suite.run(passed=1)


LEFT_BUSY = {
    "stream": """
        def test_it({0}):
            rows = {0}.cursor().stream("select generate_series(1, 1000)")
            next(rows)
            test_it.rows = rows
            raise ZeroDivisionError
    """,
    "thread": """
        import threading, time
        from contextlib import suppress

        def test_it({0}):
            def listen():
                with suppress(Exception):
                    list({0}.notifies())
            {0}.execute("listen rivers")
            threading.Thread(target=listen, daemon=True).start()
            while not {0}.lock.locked():
                time.sleep(0.01)
            raise ZeroDivisionError
    """,
    "statement": """
        import threading, time
        from contextlib import suppress

        def test_it({0}):
            def sleep():
                with suppress(Exception):
                    {0}.execute("select pg_sleep(120)")
            threading.Thread(target=sleep, daemon=True).start()
            while not {0}.lock.locked():
                time.sleep(0.01)
            raise ZeroDivisionError
    """,
}


@pytest.mark.parametrize("how", LEFT_BUSY)
@pytest.mark.parametrize(
    "fixture",
    ["connection", "module_connection", "session_connection", "rolled_back_connection"],
)
def test_a_test_that_leaves_its_connection_busy_fails_and_hangs_nobody(
    suite: Suite, fixture: str, how: str
) -> None:
    suite.write(test_busy=LEFT_BUSY[how].format(fixture))
    assert "ZeroDivisionError" in suite.run("--headwater-keep=never", failed=1)
    assert suite.left == []


@pytest.mark.parametrize("value", ["many", "-1", "1.5", "1000", "²"])
def test_a_number_that_is_none_is_a_mistake_of_usage(suite: Suite, value: str) -> None:
    suite.write(test_it=ASKING)
    write_files(suite.root, {"pytest.ini": f"[pytest]\nheadwater_ahead = {value}\n"})
    ran = suite.pytester.runpytest_inprocess(*_QUIET)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    assert f"headwater_ahead must be a number from 0 to 999, not '{value}'" in str(ran.stderr)


@pytest.mark.parametrize(
    ("ahead", "threads"), [("0", 0), ("3", supply._THREADS)], ids=["none", "some"]
)
def test_how_many_are_made_ahead_can_be_said(suite: Suite, ahead: str, threads: int) -> None:
    suite.write(
        test_it="""
        import pytest
        from headwater import pytest_plugin

        @pytest.mark.parametrize("number", range(3))
        def test_it(database, number, request):
            supply = request.config.stash[pytest_plugin._run].supply
            assert len(supply._threads) == THREADS
        """.replace("THREADS", str(threads))
    )
    write_files(suite.root, {"pytest.ini": f"[pytest]\nheadwater_ahead = {ahead}\n"})
    suite.run(passed=3)
    assert suite.left == []


# --- rolled back ------------------------------------------------------------------------------


def test_a_rolled_back_test_sees_nothing_of_others(suite: Suite) -> None:
    suite.write(
        test_it="""
        import psycopg, pytest

        @pytest.fixture
        def connection(rolled_back_connection):
            return rolled_back_connection

        names = set()

        @pytest.mark.parametrize("number", range(3))
        def test_it(connection, number):
            assert connection.execute("select count(*) from app.people").fetchone() == (0,)
            connection.execute("insert into app.people values (1, 'A B')")
            names.add(connection.info.dbname)
            assert len(names) == 1

        def test_the_driver_refuses_to_commit(connection):
            connection.execute("insert into app.people values (1, 'A B')")
            with pytest.raises(psycopg.ProgrammingError):
                connection.commit()

        def test_a_statement_fails(connection):
            with pytest.raises(psycopg.Error):
                connection.execute("select 1/0")

        def test_all_was_undone(connection):
            assert connection.execute("select count(*) from app.people").fetchone() == (0,)
            assert connection.info.dbname in names
        """
    )
    suite.run(passed=6)
    assert suite.left == []


def test_who_commits_by_a_statement_costs_its_database(
    suite: Suite,
) -> None:
    suite.write(
        test_it="""
        names = []

        def test_commits(rolled_back_connection):
            rolled_back_connection.execute("insert into app.people values (1, 'A B')")
            rolled_back_connection.execute("commit")
            names.append(rolled_back_connection.info.dbname)

        def test_next(rolled_back_connection):
            asked = rolled_back_connection.execute("select count(*) from app.people")
            assert asked.fetchone() == (0,)
            assert rolled_back_connection.info.dbname not in names
        """
    )
    told = suite.run(passed=2, errors=1)
    assert "the test ended the transaction of rolled_back_connection" in told
    assert "Traceback" not in told
    assert suite.left == []


def test_what_a_failing_test_wrote_is_committed_and_kept(suite: Suite) -> None:
    suite.write(
        test_it="""
        names = []

        def test_bad(rolled_back_connection):
            names.append(rolled_back_connection.info.dbname)
            rolled_back_connection.execute("insert into app.people values (42, 'evidence')")
            assert False

        def test_next(rolled_back_connection):
            asked = rolled_back_connection.execute("select count(*) from app.people")
            assert asked.fetchone() == (0,)
            assert rolled_back_connection.info.dbname not in names
        """
    )
    told = suite.run(passed=1, failed=1)
    [kept] = suite.left
    assert f"invoke db.psql --test {kept}" in told
    assert query(suite.tenant.to(kept), "select id from app.people") == [(42,)]
    suite.tenant.drop(kept)
    suite.run("--headwater-keep=never", "test_it.py::test_bad", failed=1)
    assert suite.left == []


# --- what it opens, and what it costs ---------------------------------------------------------


def test_the_applications_database_is_never_opened(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.write(test_it=ASKING)
    with listening() as listener:
        monkeypatch.setenv("DATABASE_URL", listener.url())
        suite.run(passed=4)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(listener.url())  # it does count
        assert len(listener.seen) == 1


def test_a_project_that_asks_for_no_database_pays_nothing(suite: Suite) -> None:
    suite.write(
        test_it="""
        import sys

        def test_it():
            ours = {name for name in sys.modules if name.split(".")[0] in ("headwater", "psycopg")}
            assert ours == {"headwater", "headwater.pytest_plugin"}
        """
    )
    with listening() as listener:
        ran = suite.run_apart(
            "-p",
            "no:randomly",
            "-p",
            "headwater.pytest_plugin",
            TEST_DATABASE_URL=listener.url(),
            DATABASE_URL=listener.url(),
        )
        assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
        assert listener.seen == []


def test_the_import_of_the_plugin_brings_no_module_but_its_own() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules); import headwater.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    asked = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    told = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["headwater", "headwater.pytest_plugin"]


# --- in parallel, in any order ----------------------------------------------------------------


@pytest.mark.slow
def test_workers_and_a_random_order_change_nothing(suite: Suite) -> None:
    suite.write(
        conftest="""
        import time, pytest

        pytest_plugins = ["headwater.pytest_plugin"]

        def pytest_unconfigure(config):
            if hasattr(config, "workerinput"):
                time.sleep(30)  # xdist interrupts it
        """,
        test_it="""
        import pytest

        def use(connection):
            assert connection.execute("select count(*) from app.people").fetchone() == (0,)
            connection.execute("insert into app.people values (1, 'A B')")

        @pytest.mark.parametrize("number", range(15))
        def test_alone(connection, number):
            use(connection)

        @pytest.mark.parametrize("number", range(15))
        def test_rolled_back(rolled_back_connection, number):
            use(rolled_back_connection)

        def test_shared(session_connection, module_connection):
            assert session_connection.info.dbname != module_connection.info.dbname

        @pytest.mark.parametrize("number", range(2))
        def test_bad(connection, number):
            use(connection)
            assert False
        """,
    )
    ran = suite.run_apart("-n", "3", "-p", "randomly")
    assert "2 failed, 31 passed" in ran.stdout, ran.stdout + ran.stderr
    assert len(suite.left) == 2
    for name in suite.left:
        assert shlex.join(["invoke", "db.psql", "--test", name]) in ran.stdout
        assert query(suite.tenant.to(name), "select id from app.people") == [(1,)]
    assert suite.tenant.password not in ran.stdout
    assert len(suite.tenant.templates) >= 1
