"""The fingerprint: noted with the last record; what changes the schema touches it."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from headwater.checks.takeover import baseline
from headwater.errors import MigrationFailed
from headwater.files.read import read_folder
from headwater.model import Event, Said, Schema, Target
from headwater.postgres import sequence
from headwater.postgres.bookkeeping import mark
from headwater.postgres.job import Job
from headwater.postgres.reset import reset
from headwater.postgres.run import migrate, status
from headwater.postgres.undo import rollback
from headwater.settings import Settings
from tests.projects import make_project
from tests.support import folder_with, migrated, query, session, value

FILES = {
    "0001_a.sql": "create schema app; create table app.a (i int primary key, t text);"
    "create view app.v as select t from app.a; create index a_t on app.a (t);",
    "0002_b.sql": "create table app.b (i int references app.a); grant select on app.b to public;",
}
NO_TRANSACTION = "-- headwater: no-transaction\n"


def seen(target: Target, settings: Settings) -> Schema:
    return status(target, read_folder(settings.migrations), settings).schema


def noted(target: Target) -> list[str]:
    """Give the versions whose record has a fingerprint."""
    rows = query(target, "select version from schema_migrations where fingerprint is not null")
    return sorted(row[0] for row in rows)


# --- noted ------------------------------------------------------------------------------------


def test_the_last_record_of_a_run_has_it_and_no_other(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    assert noted(target) == ["0002_b"]
    [(found,)] = query(target, "select fingerprint from schema_migrations where version ~ '2_b'")
    major = value(target, "select current_setting('server_version_num')::int / 10000")
    assert found.startswith(f"fp-1:{major}:")
    assert len(found.split(":")[2]) == 64
    assert seen(target, settings) is Schema.AS_MIGRATED


@pytest.mark.parametrize(
    "text",
    [
        NO_TRANSACTION + "create index concurrently b_i on app.b (i);",
        "set search_path = app; create table c ();",
        (
            "set standard_conforming_strings = off; set client_encoding = 'LATIN1';"
            "create table app.c ();"
        ),
        "set datestyle = 'german'; set quote_all_identifiers = on; create view app.w as select 1;",
        "create role {role}; set role {role}; reset role; create table app.c ();",
        "select 1;",
    ],
    ids=["no transaction", "search_path", "encoding", "forms", "role", "no change"],
)
def test_whatever_the_last_file_does_to_its_session(
    target: Target, settings: Settings, text: str
) -> None:
    role = f"{target.database}_r"
    files = FILES | {"0003_c.sql": text.format(role=role)}
    try:
        migrated(target, settings, files)
        assert noted(target) == ["0003_c"]
        assert seen(target, settings) is Schema.AS_MIGRATED
        query(target, "alter table app.b add column touched int")
        assert seen(target, settings) is Schema.TOUCHED
    finally:
        query(target, f"drop role if exists {role}")


def test_a_file_that_fails_leaves_the_one_before(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    with pytest.raises(MigrationFailed):
        migrated(target, settings, FILES | {"0003_c.sql": "create table app.c (); select 1/0;"})
    assert seen(target, settings) is Schema.AS_MIGRATED


def test_behind_a_post_condition(target: Target, settings: Settings) -> None:
    condition = {"0002_b.verify.sql": "select to_regclass('app.b') is not null as \"b is there\";"}
    migrated(target, settings, FILES | condition)
    assert seen(target, settings) is Schema.AS_MIGRATED


def test_a_rollback_notes_it_with_the_record_that_stays(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES | {"0002_b.down.sql": "drop table app.b;"})
    rollback(target, read_folder(settings.migrations), settings)
    assert noted(target) == ["0001_a"]
    assert seen(target, settings) is Schema.AS_MIGRATED
    query(target, "drop view app.v")
    assert seen(target, settings) is Schema.TOUCHED


def test_a_rollback_without_a_transaction_does_too(target: Target, settings: Settings) -> None:
    index = {
        "0003_c.sql": NO_TRANSACTION + "create index concurrently b_i on app.b (i);",
        "0003_c.down.sql": NO_TRANSACTION + "drop index concurrently app.b_i;",
    }
    migrated(target, settings, FILES | index)
    rollback(target, read_folder(settings.migrations), settings)
    assert seen(target, settings) is Schema.AS_MIGRATED


def test_a_database_that_was_taken_over_has_one(target: Target, settings: Settings) -> None:
    folder = folder_with(settings, FILES)
    query(target, "".join(FILES.values()))
    assert baseline(target, folder, settings, "0002_b").exit_code == 0
    assert seen(target, settings) is Schema.AS_MIGRATED


def test_it_is_unknown_after_a_reset_a_mark_and_before_all(
    target: Target, settings: Settings
) -> None:
    folder = folder_with(settings, FILES)
    assert seen(target, settings) is Schema.UNKNOWN
    reset(target, folder, settings)
    assert seen(target, settings) is Schema.UNKNOWN
    folder = folder_with(settings, FILES | {"0003_c.sql": "create table app.c ();"})
    migrate(target, folder, settings)
    assert seen(target, settings) is Schema.AS_MIGRATED
    more = {"0003_c.sql": "create table app.c ();", "0004_d.sql": "select 1;"}
    folder = folder_with(settings, FILES | more)
    mark(target, folder, settings, "0004_d")
    assert seen(target, settings) is Schema.UNKNOWN


@pytest.mark.parametrize("other", ["fp-2:18:0", "fp-1:14:0", "nonsense", ""])
def test_one_of_another_rule_or_version_is_unknown(
    target: Target, settings: Settings, other: str
) -> None:
    migrated(target, settings, FILES)
    query(target, f"update schema_migrations set fingerprint = '{other}'")
    assert seen(target, settings) is Schema.UNKNOWN


# --- touched ----------------------------------------------------------------------------------

TOUCHES = {
    "column": "alter table app.a add column j int",
    "default": "alter table app.a alter t set default 'x'",
    "index": "drop index app.a_t",
    "grant": "revoke select on app.b from public",
    "comment": "comment on column app.a.t is 'x'",
    "view": "create or replace view app.v as select t || '' as t from app.a",
    "foreign key": "alter table app.b disable trigger all",
    "row security": "alter table app.a enable row level security",
    "schema": "comment on schema app is 'x'",
    "statistics": "create statistics app.s on i, t from app.a",
    "storage": "alter table app.a set (fillfactor = 50)",
    "publication": "create publication p",
    "extension": "create extension pg_trgm",
    "event trigger": "create function app.e() returns event_trigger language plpgsql as "
    "$$ begin end $$; create event trigger e on ddl_command_end execute function app.e()",
    "default privileges": "alter default privileges in schema app grant select on tables to public",
}
NOT_TOUCHES = {
    "data": "insert into app.a values (1, 'x')",
    "analyze": "analyze app.a",
    "vacuum full": "vacuum full app.a",
    "reindex": "reindex table app.a",
    "the same again": "drop index app.a_t; create index a_t on app.a (t)",
    "the same column": "alter table app.a add column j int; alter table app.a drop column j",
    "another schema": "create schema other; create table other.t (i int)",
    "in public": "create table public.t (i int)",
    "the mark": "do $$ begin execute format('comment on database %I is null', current_database());"
    " end $$",
    "a setting of the database": "do $$ begin execute format('alter database %I set work_mem = "
    "''1MB''', current_database()); end $$",
    "who owns the database": "do $$ begin execute format('alter database %I owner to "
    "pg_database_owner', current_database()); exception when others then null; end $$",
    "a large object": "select lo_create(4711)",
    "bookkeeping": "create index on schema_migrations (applied_at)",
}


@pytest.mark.parametrize("name", TOUCHES)
def test_what_changes_the_schema_touches_it(target: Target, settings: Settings, name: str) -> None:
    migrated(target, settings, FILES)
    query(target, TOUCHES[name])
    assert seen(target, settings) is Schema.TOUCHED


@pytest.mark.parametrize("name", NOT_TOUCHES)
def test_what_does_not_change_it_does_not(target: Target, settings: Settings, name: str) -> None:
    migrated(target, settings, FILES)
    for statement in NOT_TOUCHES[name].split("; ") if name.startswith("v") else [NOT_TOUCHES[name]]:
        query(target, statement)
    assert seen(target, settings) is Schema.AS_MIGRATED


def test_a_run_does_not_wash_off_what_was_touched_before(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    query(target, "alter table app.a add column by_hand int")
    said = list[str]()

    def listen(event: Event) -> None:
        if isinstance(event, Said):
            said.append(event.message)

    folder = folder_with(settings, FILES | {"0003_c.sql": "create table app.c ();"})
    migrate(target, folder, settings, notify=listen)
    assert said == ["the schema was touched by hand since: invoke verify says where"]
    assert seen(target, settings) is Schema.UNKNOWN
    assert noted(target) == ["0002_b"]


def test_what_is_undone_by_hand_is_no_longer_touched(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    query(target, "alter table app.a rename t to u")
    assert seen(target, settings) is Schema.TOUCHED
    query(target, "alter table app.a rename u to t")
    assert seen(target, settings) is Schema.AS_MIGRATED


# --- who looks --------------------------------------------------------------------------------


@contextmanager
def reader(target: Target) -> Generator[Target]:
    """Give a role that may read the history and nothing else."""
    role = f"{target.database}_low"
    query(target, f"create role {role} login password 'x'")
    query(target, f"grant select on schema_migrations, schema_migrations_steps to {role}")
    try:
        yield replace(
            target, user=role, conninfo=make_conninfo(target.conninfo, user=role, password="x")
        )
    finally:
        query(target, f"drop owned by {role}; drop role {role}")


def test_a_role_with_few_rights_finds_the_same(target: Target, settings: Settings) -> None:
    """What only some may read is there on purpose: user mappings, statistics, large objects."""
    server = (
        "create extension postgres_fdw; create server far foreign data wrapper postgres_fdw;"
        "create user mapping for public server far options (user 'u', password 'secret');"
    )
    migrated(target, settings, FILES | {"0003_c.sql": server})
    with reader(target) as low:
        assert seen(low, settings) is Schema.AS_MIGRATED
        query(target, "drop view app.v")
        assert seen(low, settings) is Schema.TOUCHED


def test_another_setting_of_managed_schemas_finds_another(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    more = replace(settings, schemas=("app", "other"))
    assert seen(target, more) is Schema.TOUCHED


def test_a_session_that_writes_things_in_another_way_finds_the_same(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    options = "-c search_path=app -c quote_all_identifiers=on -c datestyle=german"
    odd = replace(target, conninfo=make_conninfo(target.conninfo, options=options))
    assert seen(odd, settings) is Schema.AS_MIGRATED


def test_a_lock_of_somebody_else_makes_it_unknown_and_holds_nobody_up(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FILES)
    folder = folder_with(settings, FILES | {"0003_c.sql": "create table app.c ();"})
    with session(target) as other:
        other.execute("lock table app.a in access exclusive mode")
        assert [r.version for r in migrate(target, folder, settings).results] == ["0003_c"]
        begun = time.monotonic()
        assert seen(target, settings) is Schema.UNKNOWN
        assert time.monotonic() - begun < 20


def test_where_reading_takes_long_no_lock_is_held_for_it(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(target, settings, FILES)
    monkeypatch.setattr(sequence, "_SOON_S", 0.0)
    monkeypatch.setattr(Job, "is_sealed", property(lambda job: job.seals and pytest.fail("no")))
    migrated(target, settings, FILES | {"0003_c.sql": "create table app.c ();"})
    assert noted(target) == ["0002_b", "0003_c"]
    assert seen(target, settings) is Schema.AS_MIGRATED


# --- told -------------------------------------------------------------------------------------


def test_status_tells_it_and_check_fails(target: Target, tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", FILES, target)
    project.invoke("migrate")
    assert project.invoke("status --check --json").json["schema"] == "as migrated"
    query(target, "alter table app.a add column j int")
    said = project.invoke("status").said("touched by hand since: invoke verify says where")
    assert "2 applied, 0 pending" in said.out
    assert project.invoke("status --check --json", code=1).json["schema"] == "touched"
