"""Lending: a database for a suite in any language, by a command; handed back by another."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headwater.errors import SettingsError, TargetError, UnsafeTarget
from headwater.model import Target
from headwater.postgres.makers import this_process
from headwater.settings import Settings, load_settings
from headwater.testing import drop_database, find_database, lend_database
from headwater.testing.databases import notes_in
from headwater.testing.lending import Lent
from tests.projects import Project, make_project
from tests.support import query, tables, value
from tests.tenants import Tenant, ended_process, named, tenant_on

FILES = {
    "0001_a.sql": "create schema app; create table app.a (id int);",
    "0002_b.sql": "create table app.b ();",
}


@pytest.fixture(scope="module")
def module_tenant(server: Target) -> Generator[Tenant]:
    with tenant_on(server) as made:
        yield made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with tasks; its target is nowhere: nothing here may open it."""
    made = make_project(tmp_path_factory.mktemp("project"), FILES)
    return Project(made.root, url="postgresql://me@127.0.0.1:1/nowhere")


@pytest.fixture
def tenant(
    module_tenant: Tenant, project: Project, monkeypatch: pytest.MonkeyPatch
) -> Generator[Tenant]:
    monkeypatch.setenv("TEST_DATABASE_URL", module_tenant.url)
    yield module_tenant
    module_tenant.drop(*module_tenant.databases())


@pytest.fixture
def settings(project: Project, tenant: Tenant) -> Settings:
    return load_settings(project.root)


def test_what_is_lent_is_migrated_and_outlives_who_made_it(
    settings: Settings, tenant: Tenant
) -> None:
    lent = lend_database(settings)
    assert tables(lent.url) == ["a", "b"]
    assert tenant.databases() == [lent.name]
    notes = notes_in(tenant.comment(lent.name))
    assert notes.lent_until == lent.until.replace(microsecond=0)
    assert abs(lent.until - datetime.now(UTC) - timedelta(hours=4)) < timedelta(minutes=1)
    assert tenant.password not in repr(lent)


def test_a_version_a_time_and_a_process_are_taken(settings: Settings, tenant: Tenant) -> None:
    ours = this_process()
    lent = lend_database(settings, at="0001_a", lasting="30min", pid=str(ours.pid))
    assert tables(lent.url) == ["a"]
    assert notes_in(tenant.comment(lent.name)).borrower == ours
    assert abs(lent.until - datetime.now(UTC) - timedelta(minutes=30)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("flag", "given", "told"),
    [
        ("at", "0003_c", "no migration '0003_c'"),
        ("lasting", "soon", "--lasting: 'soon' is no duration"),
        ("lasting", "0s", "--lasting: 0 would be over at once"),
        ("lasting", "-1h", "--lasting: '-1h' is no duration"),
        ("lasting", "9999h", "--lasting: '9999h' is longer"),
        ("pid", "0", "no process '0'"),
        ("pid", "-1", "no process '-1'"),
        ("pid", "self", "no process 'self'"),
        ("pid", "99999999999999999999", "no process '9"),
        ("pid", "ended", "no process"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    settings: Settings, tenant: Tenant, flag: str, given: str, told: str
) -> None:
    options: Any = {flag: str(ended_process().pid) if given == "ended" else given}
    with pytest.raises(SettingsError) as caught:
        lend_database(settings, **options)
    assert told in caught.value.message
    assert tenant.databases() == []


def test_lending_sweeps_what_killed_runs_left(settings: Settings, tenant: Tenant) -> None:
    tenant.made(named(ended_process()))
    lent = lend_database(settings)
    assert tenant.databases() == [lent.name]


# --- back -------------------------------------------------------------------------------------


@pytest.fixture
def lent(settings: Settings) -> Lent:
    return lend_database(settings)


def test_it_is_handed_back_by_its_url_or_by_its_name(
    settings: Settings, tenant: Tenant, lent: Lent
) -> None:
    another = lend_database(settings)
    assert drop_database(settings, lent.url)
    assert drop_database(settings, another.name)
    assert tenant.databases() == []
    assert not drop_database(settings, another.name)


@pytest.mark.parametrize(
    "database",
    [
        "",
        "postgres",
        "MINE",
        "headwater_template_0123",
        "postgresql://me@127.0.0.1/app",
        "postgresql://me@127.0.0.1",
        "dbname=postgres",
        'headwater_test_" ; drop database postgres',
    ],
)
def test_nothing_else_is_dropped(settings: Settings, tenant: Tenant, database: str) -> None:
    mine = tenant.made(f"headwater_test_{tenant.role}")
    with pytest.raises(UnsafeTarget, match="no test database of Headwater; nothing was dropped"):
        drop_database(settings, database.replace("MINE", mine))
    assert tenant.databases() == [mine]


def test_a_url_that_is_none_is_not_quoted(settings: Settings) -> None:
    with pytest.raises(SettingsError) as caught:
        drop_database(settings, "postgresql://me:canary@[/app")
    assert "canary" not in f"{caught.value.message}{caught.value.detail}"


def test_what_belongs_to_another_role_is_not_dropped(settings: Settings, tenant: Tenant) -> None:
    with tenant_on(tenant.admin) as other:
        theirs = other.made(named(this_process()))
        with pytest.raises(UnsafeTarget, match="belongs to another role"):
            drop_database(settings, theirs)
        assert other.databases() == [theirs]


def test_a_kept_database_is_found_by_its_name_alone(settings: Settings, lent: Lent) -> None:
    assert tables(find_database(settings, lent.name)) == ["a", "b"]
    for name in ("postgres", "", lent.url, "headwater_test_mine"):
        with pytest.raises(TargetError, match="no test database"):
            find_database(settings, name)


# --- the tasks --------------------------------------------------------------------------------


def test_the_tasks_lend_open_take_back_and_sweep(project: Project, tenant: Tenant) -> None:
    made = project.invoke("db.test-url --at 0001_a", TEST_DATABASE_URL=tenant.url)
    [url] = made.out.splitlines()
    [name] = tenant.databases()
    assert value(url, "select current_database()") == name
    query(url, "insert into app.a values (42)")
    shown = project.invoke(
        f"db.psql --test {name} --command 'select id from app.a'", TEST_DATABASE_URL=tenant.url
    )
    shown.said("42")
    assert tenant.password not in shown.out + shown.err
    dead = tenant.made(named(ended_process()))
    swept = project.invoke("db.sweep --json", TEST_DATABASE_URL=tenant.url).json
    assert (swept["dropped"], swept["in_use"], swept["stuck"]) == ([dead], [], [])
    assert tenant.databases() == [name]
    project.invoke(f"db.drop '{url}'", TEST_DATABASE_URL=tenant.url).said("is dropped")
    assert tenant.databases() == []
    project.invoke("db.drop postgres", code=2, TEST_DATABASE_URL=tenant.url).said(
        "nothing was dropped"
    )


def test_the_task_gives_json(project: Project, tenant: Tenant) -> None:
    form = project.invoke("db.test-url --lasting 1min --json", TEST_DATABASE_URL=tenant.url).json
    assert [form["name"]] == tenant.databases()
    assert value(form["url"], "select current_database()") == form["name"]
    assert datetime.fromisoformat(form["until"]) > datetime.now(UTC)
