"""The museum: bad inputs as data, each with how it must end; tests/museum/README.md says more."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from headwater.model import Target
from headwater.postgres.connect import with_database
from tests.conftest import FreshDatabase
from tests.exhibits import MUSEUM, SECTIONS, Exhibit, Run, exhibits, read_exhibit, set_up
from tests.projects import CONFIGURATION, ROOT, Ended, Project, project_on
from tests.support import query, session, value
from tests.warm import shared

EXHIBITS = exhibits()
# Nothing listens on the port of tcpmux: whoever connects fails, and says so.
UNREACHABLE = "postgresql://nobody@127.0.0.1:1/nowhere"
HISTORY = "public.schema_migrations"


@pytest.fixture(scope="module")
def empty(server: Target, fresh_database: FreshDatabase) -> Generator[list[Target]]:
    """An empty database that all exhibits share which are refused; an empty list once it is not."""
    with fresh_database() as url:
        name = str(conninfo.conninfo_to_dict(url)["dbname"])
        yield [with_database(server, name, "test")]


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_an_exhibit_ends_as_it_must(
    exhibit: Exhibit, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.node.user_properties.append(("museum", "bad" if exhibit.bad else "good"))
    target = database_for(exhibit, request)
    project = build(exhibit, tmp_path / "project", target)
    for number, run in enumerate(exhibit.runs, start=1):
        prepare(project, run, target)
        before = state_of(target) if target and is_untouched(run) else None
        code, written = end(exhibit, project, run, target)
        if before is not None and target is not None and state_of(target) != before:
            if exhibit.is_refused:
                request.getfixturevalue("empty").clear()
            pytest.fail(f"run {number}, {run.task}: the database changed, after:\n{written}")
        require(exhibit, run, code, written)
    if target is not None:
        require_state(exhibit, target)


def database_for(exhibit: Exhibit, request: pytest.FixtureRequest) -> Target | None:
    """Give the database of an exhibit, one of its own unless nothing may happen there at all."""
    if exhibit.database != "fresh":
        return None
    shared: list[Target] = request.getfixturevalue("empty") if exhibit.is_refused else []
    target: Target = shared[0] if shared else request.getfixturevalue("target")
    return target


def build(exhibit: Exhibit, root: Path, target: Target | None) -> Project:
    """Make the project of an exhibit, with settings unless it brings its own."""
    root.mkdir()
    shutil.copy(ROOT / "tasks.py", root)
    (root / "pyproject.toml").write_text(CONFIGURATION, encoding="utf-8")
    set_up(exhibit, root)
    if target is not None:
        project = project_on(root, target)
    else:
        project = Project(root, UNREACHABLE if exhibit.database == "unreachable" else "")
    return project


def prepare(project: Project, run: Run, target: Target | None) -> None:
    """Do what comes before a run: to the files, and to the database."""
    for name in run.remove:
        (project.root / name).unlink()
    project.write({name: text.replace("@URL@", project.url) for name, text in run.write.items()})
    if run.sql:
        assert target is not None
        query(target, run.sql)


def end(exhibit: Exhibit, project: Project, run: Run, target: Target | None) -> tuple[int, str]:
    """Run the task to its end; give its exit code, and all that it wrote."""
    bare, _, _ = project.url.partition("?")
    own = {name: text.replace("@BARE@", bare) for name, text in run.environment.items()}
    environment = project.environment() | exhibit.environment | own
    with ExitStack() as stack:
        if run.meanwhile:
            assert target is not None
            stack.enter_context(session(target)).execute(run.meanwhile.encode())
        code, out, err = shared().run(project.root, shlex.split(run.task), environment)
        return code, out + err


def is_untouched(run: Run) -> bool:
    """Say whether a run must leave the database as it was: a refusal always does."""
    return run.code in (2, 5) if run.untouched is None else run.untouched


def require(exhibit: Exhibit, run: Run, code: int, written: str) -> None:
    """Require the exit code of a run, what it must say, and what it must not."""
    assert code == run.code, f"invoke {run.task} ended with {code}, not {run.code}:\n{written}"
    for text in filter(None, [*run.words, run.place]):
        assert text in written, f"{text!r} is not in:\n{written}"
    assert not run.place or f"{run.place}: " in written, (
        f"{run.place} is not the whole place in:\n{written}"
    )
    never = [*run.never, "Traceback", "\x1b"]
    if exhibit.database == "unreachable" and not any("no connection" in w for w in run.words):
        never.append("no connection")
    for text in never:
        assert text not in written, f"{text!r} is in:\n{written}"


def require_state(exhibit: Exhibit, target: Target) -> None:
    """Require how the database stands when all runs have ended."""
    after = exhibit.after
    if after.recorded is not None:
        assert recorded(target) == after.recorded
    if after.tables is not None:
        assert tables(target) == after.tables
    for question in after.true:
        assert value(target, question) is True, question


def recorded(target: Target) -> list[str]:
    """Give the versions in history."""
    if value(target, f"select pg_catalog.to_regclass('{HISTORY}') is null"):
        return []
    return [
        row[0]
        for row in query(target, f'select version from {HISTORY} order by version collate "C"')
    ]


def tables(target: Target) -> list[str]:
    """Give the tables of the schema app."""
    found = query(
        target,
        "select relname::text from pg_catalog.pg_class where relkind in ('r', 'p') "
        "and relnamespace = pg_catalog.to_regnamespace('app')",
    )
    return sorted(row[0] for row in found)


# --- the state of a database ------------------------------------------------------------------

# Everything that a user can make stands in one of these with an oid from 16384 on
# (FirstNormalObjectId); what the server itself counts or cleans up is left out.
_CATALOGUES = {
    "pg_attrdef": "oid", "pg_attribute": "attrelid", "pg_cast": "oid", "pg_class": "oid",
    "pg_collation": "oid", "pg_constraint": "oid", "pg_default_acl": "oid", "pg_depend": "objid",
    "pg_description": "objoid", "pg_enum": "oid", "pg_event_trigger": "oid",
    "pg_extension": "oid", "pg_foreign_server": "oid", "pg_index": "indexrelid",
    "pg_inherits": "inhrelid", "pg_largeobject_metadata": "oid", "pg_namespace": "oid",
    "pg_opclass": "oid", "pg_operator": "oid", "pg_policy": "oid", "pg_proc": "oid",
    "pg_publication": "oid", "pg_rewrite": "oid", "pg_sequence": "seqrelid",
    "pg_statistic_ext": "oid", "pg_trigger": "oid", "pg_ts_config": "oid", "pg_type": "oid",
}  # fmt: skip
_COUNTED = "relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid,relhasindex"
_HASH = (
    "(select '{0}', count(*), md5(string_agg(r, chr(10) order by r)) from (select "
    f"(pg_catalog.to_jsonb(c) - '{{{{{_COUNTED}}}}}'::text[])::text as r "
    "from pg_catalog.{0} c where {1} >= 16384) rows)"
)
_ROWS = (
    "(select $t${0}$t$, count(*), md5(string_agg(t::text, chr(10) order by t::text)) from {0} t)"
)
_SETTINGS = (
    "(select 'settings', count(*), md5(string_agg(s::text, chr(10) order by s::text)) "
    "from pg_catalog.pg_db_role_setting s where setdatabase = (select oid from "
    "pg_catalog.pg_database where datname = pg_catalog.current_database()))"
)


def state_of(target: Target) -> list[tuple[Any, ...]]:
    """Give a hash of everything in a database that somebody could have changed."""
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        connection.execute("set search_path = ''")
        found = connection.execute(
            "select c.oid::regclass::text from pg_catalog.pg_class c "
            "where relkind in ('r', 'm') and relpersistence <> 't' and c.oid >= 16384 "
            "and relnamespace <> 'pg_toast'::regnamespace order by 1"
        ).fetchall()
        parts = [_SETTINGS, *(_HASH.format(c, key) for c, key in _CATALOGUES.items())]
        parts += [_ROWS.format(name) for (name,) in found]
        return connection.execute(" union all ".join(parts).encode()).fetchall()


# --- the museum itself ------------------------------------------------------------------------


def test_the_museum_has_at_least_150_bad_inputs_of_every_group_and_section() -> None:
    bad = [exhibit for exhibit in EXHIBITS if exhibit.bad]
    sections = {section for section in SECTIONS for e in bad if e.museum.startswith(section)}
    print(f"\nbad inputs: {len(bad)}, of {len(sections)} of {len(SECTIONS)} sections")
    assert len(bad) >= 150
    assert sections == set(SECTIONS)


def test_every_folder_of_the_museum_is_an_exhibit() -> None:
    folders = {path.name for path in MUSEUM.iterdir() if path.is_dir()}
    assert folders == {exhibit.name for exhibit in EXHIBITS}


@pytest.mark.parametrize("name", ["nul-byte", "good-dollar-quotes"])
def test_a_warm_run_and_a_process_of_its_own_end_alike(
    name: str, tmp_path: Path, target: Target
) -> None:
    [exhibit] = [exhibit for exhibit in EXHIBITS if exhibit.name == name]
    project = build(exhibit, tmp_path / "project", target)
    task = "migrate --dry-run"
    ended = Ended(*shared().run(project.root, task.split(), project.environment()))
    assert project.cold(task, code=ended.code) == ended


@pytest.mark.parametrize(
    ("run", "code"),
    [
        pytest.param(Run(task="t", code=2, words=["NUL"]), 3, id="exit-code"),
        pytest.param(Run(task="t", code=2, words=["NUL", "BOM"]), 2, id="word-that-is-missing"),
        pytest.param(Run(task="t", code=2, never=["canary"]), 2, id="word-that-must-not-be-there"),
        pytest.param(Run(task="t", code=2, place="0001_a.sql:1:2"), 2, id="column"),
        pytest.param(Run(task="t", code=2, place="0001_a.sql:1"), 2, id="half-a-place"),
    ],
)
def test_an_end_that_is_another_is_seen(run: Run, code: int) -> None:
    written = "error: 0001_a.sql:1:23: NUL canary"
    exhibit = replace(EXHIBITS[0], database="fresh")
    require(exhibit, Run(task="t", code=2, words=["NUL"], place="0001_a.sql:1:23"), 2, written)
    with pytest.raises(AssertionError):
        require(exhibit, run, code, written)


def test_a_connection_that_must_not_be_tried_is_seen() -> None:
    exhibit = replace(EXHIBITS[0], database="unreachable")
    with pytest.raises(AssertionError):
        require(exhibit, Run(task="t"), 0, "no connection to nowhere")


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("word = ['x']", id="unknown-key"),
        pytest.param("[[run]]\ntask = 't'\ncode = 2\nword = ['x']", id="unknown-key-of-a-run"),
        pytest.param("[[run]]\ntask = 't'\ncode = 2", id="refusal-without-words"),
        pytest.param("[[run]]\ntask = 't'", id="nothing-expected"),
        pytest.param("", id="nothing-run"),
    ],
)
def test_an_exhibit_that_expects_nothing_is_none(tmp_path: Path, table: str) -> None:
    head = "why = 'x'\ngroup = 'files'\n"
    good = "[[run]]\ntask = 't'\ncode = 2\nwords = ['x']"
    (tmp_path / "expect.toml").write_text(head + good, encoding="utf-8")
    assert read_exhibit(tmp_path).bad
    (tmp_path / "expect.toml").write_text(head + table, encoding="utf-8")
    with pytest.raises(AssertionError):
        read_exhibit(tmp_path)


def test_a_change_of_the_database_is_seen(target: Target) -> None:
    query(target, "create schema app; create table app.t (i int)")
    before = state_of(target)
    assert state_of(target) == before
    for change in (
        "insert into app.t values (1)",
        "update app.t set i = 2",
        "alter table app.t add j int",
        "comment on table app.t is 'x'",
        "grant select on app.t to public",
        "create function app.f() returns int language sql as 'select 1'",
    ):
        query(target, change)
        after = state_of(target)
        assert after != before, change
        before = after
