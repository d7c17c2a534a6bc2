"""History: our table, only ours, and nobody's objects between us and it."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from headwater.errors import HistoryError, MigrationFailed, TargetError
from headwater.model import Target
from headwater.postgres import history
from headwater.postgres.connect import connect
from headwater.postgres.lock import migration_lock
from headwater.postgres.reset import reset
from headwater.postgres.run import migrate, plan_for
from headwater.settings import Settings
from tests.support import folder_with, migrated, query, recorded, tables, value

INIT = {"0001_init.sql": "create schema app; create table app.t (i int);"}
MORE = INIT | {"0002_more.sql": "create table app.more ();"}

FOREIGN = {
    "Rails": "create table {} (version varchar primary key)",
    "golang-migrate": "create table {} (version bigint primary key, dirty boolean not null)",
    "the reference project": "create table {} (version text primary key, filename text, "
    "applied_at timestamptz default now())",
    "a view": "create view {} as select 'x'::text as version",
    "no columns": "create table {} ()",
    "a table with file names and checksums": "create table {} (version text, filename text, "
    "applied_at timestamptz, checksum text)",
}


def fingerprint(target: Target, table: str) -> object:
    """Give everything that an alteration of a table would change: its columns, rows, xmin."""
    columns = "select array_agg(row(attname, xmin)::text order by attnum) from pg_attribute"
    return value(
        target,
        f"select row(c.xmin, c.relfilenode, c.relkind, ({columns} where attrelid = c.oid), "
        f"(select array_agg(t::text) from {table} t), obj_description(c.oid))::text "
        f"from pg_class c where oid = '{table}'::regclass",
    )


@pytest.mark.parametrize("tool", FOREIGN)
def test_a_table_of_another_tool_is_recognised_refused_and_not_altered(
    target: Target, settings: Settings, tool: str
) -> None:
    query(target, FOREIGN[tool].format("schema_migrations"))
    before = fingerprint(target, "schema_migrations")
    with pytest.raises(
        HistoryError, match=r"public\.schema_migrations was made by another"
    ) as caught:
        migrated(target, settings, INIT)
    assert "it was not touched" in caught.value.detail
    older = tool == "the reference project"
    assert ("invoke history.baseline VERSION" if older else "HEADWATER_HISTORY_TABLE=") in (
        caught.value.hint
    )
    assert caught.value.exit_code == 2
    assert fingerprint(target, "schema_migrations") == before
    assert tables(target) == []


def test_the_advice_for_a_foreign_table_works(target: Target, settings: Settings) -> None:
    query(target, FOREIGN["Rails"].format("schema_migrations"))
    ours = replace(settings, history_table="headwater_history")
    migrated(target, ours, INIT)
    assert recorded(target, ours) == ["0001_init"]
    assert value(target, "select count(*) from schema_migrations") == 0


def test_a_table_of_a_newer_headwater_with_more_columns_is_ours(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, INIT)
    query(target, "alter table schema_migrations add more text, drop column fingerprint, "
          "add fingerprint text")  # fmt: skip
    assert migrated(target, settings, MORE) == ["0002_more"]


def test_reading_makes_nothing(target: Target, settings: Settings) -> None:
    folder = folder_with(settings, INIT)
    with connect(target, purpose="test") as connection:
        plan = plan_for(connection, folder, settings)
        assert history.read_history(connection, settings) == ()
        assert not history.has_history(connection, settings)
    assert [step.version for step in plan.steps] == ["0001_init"]
    assert tables(target, "public") == []


def test_a_plan_can_be_made_in_a_read_only_session(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    query(target, f"alter database {target.database} set default_transaction_read_only = on")
    with connect(target, purpose="test") as connection:
        plan = plan_for(connection, folder_with(settings, MORE), settings)
    assert [step.version for step in plan.steps] == ["0002_more"]


def test_reading_leaves_the_session_as_it_was(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    with connect(target, purpose="test") as connection:
        connection.execute("set search_path = app")
        plan_for(connection, folder_with(settings, INIT), settings)
        assert connection.execute("show search_path").fetchone() == ("app",)
        with connection.transaction():
            plan_for(connection, folder_with(settings, INIT), settings)
            assert connection.execute("show search_path").fetchone() == ("app",)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@pytest.mark.parametrize(
    ("schema", "table"),
    [("ops", "schema_migrations"), ("public", "user"), ("select", "table"), ("_", "_")],
)
def test_history_may_stand_anywhere_under_any_name(
    target: Target, settings: Settings, schema: str, table: str
) -> None:
    query(target, f'create schema if not exists "{schema}"')
    elsewhere = replace(settings, history_schema=schema, history_table=table)
    assert migrated(target, elsewhere, INIT) == ["0001_init"]
    assert migrated(target, elsewhere, MORE) == ["0002_more"]
    assert value(target, f'select count(*) from "{schema}"."{table}"') == 2
    assert value(target, f'select count(*) from "{schema}"."{table}_steps"') == 0
    assert value(target, "select to_regclass('public.schema_migrations') is null")


def test_a_history_whose_schema_is_missing_says_so_and_runs_nothing(
    target: Target, settings: Settings
) -> None:
    elsewhere = replace(settings, history_schema="nowhere")
    with pytest.raises(TargetError, match=r"the schema nowhere, .* is not there") as caught:
        migrated(target, elsewhere, INIT)
    assert "nothing was touched" in caught.value.detail
    assert tables(target) == []


def test_two_histories_do_not_meet(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    other = replace(settings, history_table="other_history")
    assert migrated(target, other, {"0009_b.sql": "create table app.b ()"}) == ["0009_b"]
    assert recorded(target, settings) == ["0001_init"]


# Somebody's schema ahead of everything, pg_catalog included, that answers in place of the server.
CAPTURE = """
create schema mal;
create table mal.schema_migrations (like public.schema_migrations);
insert into mal.schema_migrations (version, checksum, applied_at, applied_by, out_of_order, how)
  values ('0002_more', 'sha256-1:', '2020-01-01', 'mal', false, 'run');
create table mal.schema_migrations_steps (like public.schema_migrations_steps);
create domain mal.text as pg_catalog.text check (false);
create table mal.called (what pg_catalog.text);
create function mal.wrong(what pg_catalog.text) returns pg_catalog.void language sql
  as 'insert into mal.called values (what)';
create function mal.now() returns pg_catalog.timestamptz language sql
  as 'select mal.wrong(''now''); select pg_catalog.timestamptz ''2000-01-01''';
create function mal.clock_timestamp() returns pg_catalog.timestamptz language sql
  as 'select mal.wrong(''clock''); select pg_catalog.timestamptz ''2000-01-01''';
create function mal.round(pg_catalog.numeric) returns pg_catalog.numeric language sql
  as 'select mal.wrong(''round''); select 0.0';
create function mal.set_config(pg_catalog.text, pg_catalog.text, pg_catalog.bool)
  returns pg_catalog.text language sql as 'select mal.wrong(''set_config''); select ''''';
create function mal.host(pg_catalog.inet) returns pg_catalog.text language sql
  as 'select mal.wrong(''host''); select ''''';
create function mal.pg_try_advisory_lock(pg_catalog.int8) returns pg_catalog.bool language sql
  as 'select mal.wrong(''lock''); select true';
"""
_OPERATOR = """
create function mal.f{n}({left}, {right}) returns {result} language sql
  as 'select mal.wrong(''{name}''); select {answer}';
create operator mal.{name} (leftarg = {left}, rightarg = {right}, function = mal.f{n});
"""
_OPERATORS = [
    ("=", "pg_catalog.text", "pg_catalog.text", "pg_catalog.bool", "false"),
    ("=", "pg_catalog.name", "pg_catalog.name", "pg_catalog.bool", "false"),
    ("=", "pg_catalog.name", "pg_catalog.text", "pg_catalog.bool", "false"),
    ("=", "pg_catalog.oid", "pg_catalog.oid", "pg_catalog.bool", "false"),
    ("=", "pg_catalog.int2", "pg_catalog.int4", "pg_catalog.bool", "false"),
    (">", "pg_catalog.int2", "pg_catalog.int4", "pg_catalog.bool", "false"),
    (">=", "pg_catalog.oid", "pg_catalog.int4", "pg_catalog.bool", "false"),
    (
        "-",
        "pg_catalog.timestamptz",
        "pg_catalog.timestamptz",
        "pg_catalog.interval",
        "null::pg_catalog.interval",
    ),
    ("*", "pg_catalog.numeric", "pg_catalog.int4", "pg_catalog.numeric", "0.0"),
    (">>", "pg_catalog.int8", "pg_catalog.int4", "pg_catalog.int8", "0::pg_catalog.int8"),
    ("&", "pg_catalog.int8", "pg_catalog.int8", "pg_catalog.int8", "0::pg_catalog.int8"),
]


def capture(target: Target, path: str) -> None:
    """Put somebody's schema ahead, for every session of the database that begins from now on."""
    query(target, CAPTURE)
    for n, (name, left, right, result, answer) in enumerate(_OPERATORS):
        query(
            target,
            _OPERATOR.format(n=n, name=name, left=left, right=right, result=result, answer=answer),
        )
    query(target, f"alter database {target.database} set search_path = {path}")


PATHS = ["mal, public", "mal, pg_catalog, public"]


@pytest.mark.parametrize("path", PATHS)
def test_nobodys_objects_ahead_in_the_path_capture_our_bookkeeping(
    target: Target, settings: Settings, path: str
) -> None:
    migrated(target, settings, INIT)
    capture(target, path)
    assert value(target, "select now() < '2001-01-01'::timestamptz") == (path == PATHS[1])

    files = MORE | {
        "0003_no.sql": "-- headwater: no-transaction\ncreate table app.no ();",
        "0004_last.sql": "create table app.last ();",
    }
    done = migrate(target, folder_with(settings, files), settings)
    assert [result.version for result in done.results] == ["0002_more", "0003_no", "0004_last"]
    clean(target)
    assert recorded(target, settings) == ["0001_init", "0002_more", "0003_no", "0004_last"]
    assert query(target, "select version from mal.schema_migrations") == [("0002_more",)]
    assert query(target, "select distinct what from mal.called where what <> 'now'") == []
    assert value(target, "select bool_and(applied_at > '2020-01-01') from public.schema_migrations")


def clean(target: Target) -> None:
    query(target, f"alter database {target.database} reset search_path")


@pytest.mark.parametrize("path", PATHS)
def test_the_first_history_is_made_of_the_servers_own_types(
    target: Target, settings: Settings, path: str
) -> None:
    migrated(target, replace(settings, history_table="other"), INIT)
    query(target, "create table schema_migrations (like other); "
          "create table schema_migrations_steps (like other_steps)")  # fmt: skip
    capture(target, path)
    query(target, "drop table public.schema_migrations, public.schema_migrations_steps")
    migrated(target, settings, {"0001_init.sql": "create schema if not exists app;"})
    clean(target)
    assert query(
        target,
        "select distinct t.typnamespace::regnamespace::text from pg_attribute a join pg_type t "
        "on t.oid = atttypid where attrelid = 'public.schema_migrations'::regclass",
    ) == [("pg_catalog",)]


@pytest.mark.parametrize("path", PATHS)
def test_the_holder_of_the_lock_is_found_whatever_the_path(
    target: Target, settings: Settings, path: str
) -> None:
    migrated(target, settings, INIT)
    capture(target, path)
    with migration_lock(target, settings) as held:
        assert held.execute("show search_path").fetchone() == ('""',)
    clean(target)
    assert query(target, "select * from mal.called") == []


RULE = "create rule r as on insert to public.schema_migrations do instead nothing"
TRIGGER = (
    "create function public.none() returns trigger language plpgsql as 'begin return null; end';"
    "create trigger t before insert on public.schema_migrations "
    "for each row execute function public.none()"
)


@pytest.mark.parametrize("swallow", [RULE, TRIGGER], ids=["rule", "trigger"])
def test_a_history_that_could_swallow_records_is_refused(
    target: Target, settings: Settings, swallow: str
) -> None:
    first = {"0001_init.sql": "create schema app; create table app.t (i int);"}
    migrate(target, folder_with(settings, first), settings)
    query(target, swallow)
    folder = folder_with(settings, first | {"0002_b.sql": "create table app.b ();"})
    with pytest.raises(HistoryError, match="is no plain table"):
        migrate(target, folder, settings)
    with pytest.raises(HistoryError, match="is no plain table"):
        reset(target, folder, settings)
    assert tables(target) == ["t"]


@pytest.mark.parametrize(
    "swallow",
    [RULE, TRIGGER],
    ids=["rule", "trigger"],
)
def test_a_file_that_takes_its_own_record_away_is_rolled_back(
    target: Target, settings: Settings, swallow: str
) -> None:
    first = {"0001_init.sql": "create schema app; create table app.t (i int);"}
    migrate(target, folder_with(settings, first), settings)
    folder = folder_with(settings, first | {"0002_b.sql": f"create table app.b (); {swallow}"})
    with pytest.raises(MigrationFailed, match="did not keep the record"):
        migrate(target, folder, settings)
    assert tables(target) == ["t"]
    assert recorded(target, settings) == ["0001_init"]
