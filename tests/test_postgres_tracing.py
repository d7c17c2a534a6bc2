"""The trace: what each statement locks and does, measured on a real server."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import pytest
from psycopg import conninfo

from headwater.checks.rules import EXAMPLE_SCHEMA
from headwater.files.accepted import Accepted
from headwater.files.directives import read_header
from headwater.files.text import checksum
from headwater.model import Migration, Target
from headwater.outcomes import LockMode
from headwater.postgres.connect import with_database
from headwater.postgres.tracing import NO_TRIGGERS, trace
from headwater.settings import Settings
from headwater.verdicts import Effect, Traced, TracedStatement
from tests.conftest import FreshDatabase
from tests.support import query

MORE = """
create table app.parted (id bigint, day date) partition by range (day);
create table app.old partition of app.parted for values from ('2024-01-01') to ('2025-01-01');
create table app.child (id bigint, t_id bigint references app.t);
create materialized view app.counted as select count(*) from app.t;
create view app.seen as select id from app.t;
create type app.mood as enum ('fine');
alter table app.t add constraint valid_b check (b is not null);
"""

AX, SRX, S, SUX = (
    LockMode.ACCESS_EXCLUSIVE,
    LockMode.SHARE_ROW_EXCLUSIVE,
    LockMode.SHARE,
    LockMode.SHARE_UPDATE_EXCLUSIVE,
)


@pytest.fixture(scope="module")
def example(fresh_database: FreshDatabase) -> Generator[str]:
    with fresh_database() as url:
        query(url, EXAMPLE_SCHEMA + MORE)
        yield str(conninfo.conninfo_to_dict(url)["dbname"])


@pytest.fixture
def copy(server: Target, fresh_database: FreshDatabase, example: str) -> Generator[Target]:
    with fresh_database(example) as url:
        yield with_database(server, str(conninfo.conninfo_to_dict(url)["dbname"]), "test")


@pytest.fixture
def settings(server: Target) -> Settings:
    from tests.conftest import ROOT

    return Settings(root=ROOT, migrations=ROOT / "migrations", schemas=("app",))


def accepted(text: str) -> Accepted:
    return Accepted(
        migration=Migration(
            version="20240101_x",
            text=text,
            checksum=checksum(text),
            directives=read_header(text),
        )
    )


def traced(copy: Target, settings: Settings, text: str, *, together: bool = False) -> Traced:
    found = trace(copy, accepted(text), settings, together=together)
    assert found.error == ""
    return found


def only(copy: Target, settings: Settings, text: str) -> TracedStatement:
    [statement] = traced(copy, settings, text).statements
    return statement


def effect_on(statement: TracedStatement, relation: str) -> Effect:
    [effect] = [each for each in statement.effects if each.relation == relation]
    return effect


both_ways = pytest.mark.parametrize("together", [False, True], ids=["each", "together"])


# --- locks and work, one statement each -------------------------------------------------------


class Shown(NamedTuple):
    """What a statement is to show on a relation: lock, reason of a rewrite, read whole, indexes."""

    text: str
    relation: str
    lock: LockMode
    rewrite: str = ""
    whole: bool = False
    builds: tuple[str, ...] = ()


ALL = ("i", "t_pkey")
KEY = "foreign key (u_id) references app.u"
UUID = "default gen_random_uuid()"
IN_2025 = "for values from ('2025-01-01') to ('2026-01-01')"
NO_CHANGE = "execute function suppress_redundant_updates_trigger()"
WORK = [
    Shown("alter table app.t alter a type bigint", "app.t", AX, "column type", True, ALL),
    Shown("alter table app.t alter name type varchar(200)", "app.t", AX),
    Shown("alter table app.t alter name type varchar(20)", "app.t", AX, "column type", True, ALL),
    Shown("alter table app.t alter name type text", "app.t", AX),
    Shown(f"alter table app.t add c uuid {UUID}", "app.t", AX, "default", True, ALL),
    Shown("alter table app.t add c timestamptz default now()", "app.t", AX),
    Shown("alter table app.t add c int check (c > 0)", "app.t", AX, whole=True),
    Shown("alter table app.t add check (b > 0)", "app.t", AX, whole=True),
    Shown("alter table app.t add check (b > 0) not valid", "app.t", AX),
    Shown("alter table app.t alter name set not null", "app.t", AX, whole=True),
    Shown("alter table app.t alter b set not null", "app.t", AX),
    Shown(f"alter table app.t add {KEY}", "app.t", SRX, whole=True),
    Shown(f"alter table app.t add {KEY} not valid", "app.t", SRX),
    Shown("alter table app.t add unique (a)", "app.t", AX, whole=True, builds=("t_a_key",)),
    Shown("create index j on app.t (b)", "app.t", S, whole=True, builds=("j",)),
    Shown("create index j on app.parted (day)", "app.old", S, whole=True, builds=("old_day_idx",)),
    Shown("drop index app.i", "app.t", AX),
    Shown("reindex table app.t", "app.t", AX, whole=True, builds=ALL),
    Shown("cluster app.t using i", "app.t", AX, "cluster", True, ALL),
    Shown("refresh materialized view app.counted", "app.counted", AX, "refresh"),
    Shown("alter table app.u set unlogged", "app.u", AX, "persistence", True, ("u_pkey",)),
    Shown("truncate app.child", "app.child", AX),
    Shown(f"create trigger z before update on app.t for each row {NO_CHANGE}", "app.t", SRX),
    Shown(f"create table app.n partition of app.parted {IN_2025}", "app.parted", AX),
    Shown("comment on table app.t is 'T'", "app.t", SUX),
    Shown("lock table app.t in share mode", "app.t", S),
]


@pytest.mark.parametrize("shown", WORK, ids=lambda shown: shown.text)
def test_locks_rewrites_scans_and_builds_are_measured(
    copy: Target, settings: Settings, shown: Shown
) -> None:
    effect = effect_on(only(copy, settings, shown.text), shown.relation)
    assert effect.lock is shown.lock
    assert (effect.rewrite, effect.scans > 0) == (shown.rewrite, shown.whole)
    assert effect.builds == tuple(f"app.{name}" for name in shown.builds)


def test_empty_tables_show_their_scans_as_well(copy: Target, settings: Settings) -> None:
    query(copy, "truncate app.t, app.child")
    statement = only(copy, settings, "alter table app.t add check (b > 0)")
    assert effect_on(statement, "app.t").scans == 1


def test_what_is_read_for_a_foreign_key_by_an_index_is_read_whole(
    copy: Target, settings: Settings
) -> None:
    query(copy, "create index on app.t (u_id)")
    text = "set enable_seqscan = off;\nalter table app.t add foreign key (u_id) references app.u;"
    assert effect_on(traced(copy, settings, text).statements[1], "app.t").scans > 0


def test_a_query_that_an_index_could_answer_is_no_scan(copy: Target, settings: Settings) -> None:
    found = traced(
        copy, settings, "update app.t set b = 1 where id = 1;\nupdate app.t set b = 1 where b = 1;"
    )
    one, all_of_it = (effect_on(each, "app.t") for each in found.statements)
    assert (one.scans, one.rows) == (0, 1)
    assert (all_of_it.scans, all_of_it.rows) == (1, 1)


@both_ways
def test_planning_is_as_it_was_behind_a_query(
    copy: Target, settings: Settings, together: bool
) -> None:
    text = "select 1;\ncreate table app.shown as select current_setting('enable_seqscan') as it;"
    traced(copy, settings, text, together=together)
    assert query(copy, "select it from app.shown") == [("on",)]


def test_what_a_file_makes_itself_is_nothing_that_others_wait_for(
    copy: Target, settings: Settings
) -> None:
    text = (
        "create table app.n (a int);\ncreate index on app.n (a);\n"
        "alter table app.n add check (a > 0);"
    )
    assert [each.effects for each in traced(copy, settings, text).statements] == [(), (), ()]


# --- which relation ---------------------------------------------------------------------------


def test_a_table_that_is_only_referred_to_is_not_the_target(
    copy: Target, settings: Settings
) -> None:
    statement = only(copy, settings, "create table app.n (u_id bigint references app.u)")
    effect = effect_on(statement, "app.u")
    assert (effect.target, effect.lock, effect.scans) == (False, SRX, 0)


def test_the_other_end_of_a_foreign_key_is_locked_when_it_is_dropped(
    copy: Target, settings: Settings
) -> None:
    effects = only(copy, settings, "drop table app.child").effects
    assert [(each.relation, each.target, each.lock) for each in effects] == [
        ("app.child", True, AX),
        ("app.t", False, AX),
    ]


def test_partitions_are_a_part_of_their_table(copy: Target, settings: Settings) -> None:
    statement = only(copy, settings, "alter table app.parted add column n int")
    assert [(each.relation, each.target) for each in statement.effects] == [
        ("app.old", True),
        ("app.parted", True),
    ]


def test_names_that_need_quotes_are_found(copy: Target, settings: Settings) -> None:
    names = ('app."user"', 'app."Odd ""name"')
    query(copy, "".join(f"create table {name} (i int);" for name in names))
    text = "".join(f"alter table {name} add column j int;" for name in names)
    for name, statement in zip(names, traced(copy, settings, text).statements, strict=True):
        assert effect_on(statement, name).target


def test_a_name_without_a_schema_is_looked_up_as_the_file_does(
    copy: Target, settings: Settings
) -> None:
    text = "set search_path = app;\nalter table t add column j int;"
    found = traced(copy, settings, text)
    assert effect_on(found.statements[1], "app.t").target
    assert found.statements[0].settings == ("search_path",)


# --- blocks, drops, settings ------------------------------------------------------------------


def test_what_a_block_does_is_told(copy: Target, settings: Settings) -> None:
    text = "do $$ begin execute format('alter table app.%I alter a type bigint', 't'); end $$;"
    statement = only(copy, settings, text)
    assert statement.hidden == ("ALTER TABLE app.t",)
    assert effect_on(statement, "app.t").rewrite == "column type"


def test_what_goes_with_a_cascade_is_told_and_parts_of_it_are_not(
    copy: Target, settings: Settings
) -> None:
    statement = only(copy, settings, "drop table app.t cascade")
    assert sorted((each.kind, each.identity) for each in statement.gone if each.cascade) == [
        ("materialized view", "app.counted"),
        ("table constraint", "child_t_id_fkey on app.child"),
        ("view", "app.seen"),
    ]


def test_settings_that_stay_are_told_and_those_of_the_transaction_are_not(
    copy: Target, settings: Settings
) -> None:
    text = (
        "set work_mem = '8MB';\nset local work_mem = '9MB';\n"
        "select set_config('datestyle', 'German', false);\nset role pg_monitor;\nreset role;\n"
    )
    found = [each.settings for each in traced(copy, settings, text).statements]
    assert found == [("work_mem",), (), ("DateStyle",), ("role",), ("role",)]


def test_a_role_with_few_rights_is_watched_like_any(copy: Target, settings: Settings) -> None:
    query(copy, "grant usage, create on schema app to pg_monitor")
    text = "set role pg_monitor;\ndo $$ begin create table app.n (a int); end $$;"
    assert traced(copy, settings, text).statements[1].hidden == ("CREATE TABLE app.n",)


def test_operators_of_somebodys_schema_do_not_mislead_it(copy: Target, settings: Settings) -> None:
    kinds = ("oid", "oid"), ("oid", "integer"), ("integer", "integer"), ("text", "text")
    query(
        copy,
        ";".join(
            f"create function app.never({left}, {right}) returns boolean language sql return false;"
            f"create operator app.= (leftarg = {left}, rightarg = {right}, function = app.never);"
            f"create operator app.>= (leftarg = {left}, rightarg = {right}, function = app.never)"
            for left, right in kinds
        ),
    )
    text = (
        "set search_path = app, pg_catalog;\nalter table t alter a type bigint;\n"
        "create index made on t (b);"
    )
    _, altered, indexed = traced(copy, settings, text).statements
    effect = effect_on(altered, "app.t")
    assert (effect.rewrite, effect.lock) == ("column type", LockMode.ACCESS_EXCLUSIVE)
    effect = effect_on(indexed, "app.t")
    assert (effect.builds, effect.lock) == (("app.made",), LockMode.SHARE)


# --- what is held, what is left ---------------------------------------------------------------


@both_ways
def test_work_behind_a_lock_says_what_is_held(
    copy: Target, settings: Settings, together: bool
) -> None:
    text = (
        "alter table app.u add column n int;\ncomment on table app.t is 'T';\n"
        "update app.t set b = a;\n"
    )
    found = traced(copy, settings, text, together=together)
    assert [[str(lock) for lock in each.held] for each in found.statements] == [
        [],
        [],
        ["app.u: ACCESS EXCLUSIVE (blocks reads and writes)"],
    ]


def test_a_file_without_a_transaction_holds_nothing(copy: Target, settings: Settings) -> None:
    text = (
        "-- headwater: no-transaction\nalter table app.u add column n int;\n"
        "update app.t set b = a;\n"
    )
    assert [each.held for each in traced(copy, settings, text).statements] == [(), ()]


def test_what_is_left_unfinished_is_named(copy: Target, settings: Settings) -> None:
    text = (
        "alter table app.t add constraint later check (b > 0) not valid;\n"
        "alter table app.t add constraint soon check (b > 0) not valid;\n"
        "alter table app.t validate constraint soon;\n"
        "create index p on only app.parted (id);\n"
    )
    assert traced(copy, settings, text).unfinished == ("constraint later on app.t", "index app.p")


# --- what no transaction can hold -------------------------------------------------------------


def test_concurrently_has_its_lock_from_the_manual_and_its_work_measured(
    copy: Target, settings: Settings
) -> None:
    text = (
        "-- headwater: no-transaction\n"
        "create index concurrently j on app.t (b);\n"
        "reindex index concurrently app.j;\n"
        "drop index concurrently app.j;\n"
        "vacuum full app.t;\n"
        "vacuum app.t;\n"
        "vacuum (full false) app.t;\n"
    )
    effects = [effect_on(each, "app.t") for each in traced(copy, settings, text).statements]
    assert [(each.lock, each.builds, each.rewrite) for each in effects] == [
        (SUX, ("app.j",), ""),
        (SUX, ("app.j",), ""),
        (SUX, (), ""),
        (AX, ("app.i", "app.t_pkey"), "vacuum full"),
        (SUX, (), ""),
        (SUX, (), ""),
    ]


# --- what is not run, and what fails ----------------------------------------------------------


def test_what_reaches_beyond_the_database_is_not_run(copy: Target, settings: Settings) -> None:
    statement = only(copy, settings, "create role headwater_never")
    assert statement.skipped == ("CREATE ROLE reaches beyond the database: it is not run here")
    assert query(copy, "select from pg_roles where rolname = 'headwater_never'") == []


def test_a_failure_is_told_with_its_place_and_what_ran_before_it(
    copy: Target, settings: Settings
) -> None:
    text = "alter table app.t add column n int;\n\nalter table app.t\n  drop column nowhere;\n"
    found = trace(copy, accepted(text), settings, together=False)
    assert found.error.startswith(
        '20240101_x.sql:3:1: column "nowhere" of relation "t" does not exist'
    )
    assert [each.line for each in found.statements] == [1]


def test_a_file_that_needs_its_one_transaction_is_run_in_it(
    copy: Target, settings: Settings
) -> None:
    text = "set local search_path = app;\nalter table t add column n int;\ncreate index on t (n);"
    found = traced(copy, settings, text, together=True)
    assert effect_on(found.statements[2], "app.t").builds == ("app.t_n_idx",)
    # Its own lock is weaker: what is held is told.
    assert effect_on(found.statements[2], "app.t").lock is AX


def test_without_a_superuser_a_note_says_what_is_not_seen(
    copy: Target, settings: Settings, example: str
) -> None:
    role = f"headwater_low_{copy.database[-12:]}"
    query(copy, f"create role {role} login password 'x'")
    try:
        query(copy, f"grant all on schema app to {role}; alter table app.t owner to {role}")
        low = Target(
            host=copy.host,
            port=copy.port,
            database=copy.database,
            user=role,
            source="test",
            conninfo=conninfo.make_conninfo(copy.conninfo, user=role, password="x"),
            private=copy.private,
        )
        found = traced(low, settings, "alter table app.t alter a type bigint")
        assert found.notes == (NO_TRIGGERS,)
        effect = effect_on(found.statements[0], "app.t")
        assert (effect.lock, effect.rewrite) == (AX, "new file")
    finally:
        query(copy, f"drop owned by {role} cascade")
        query(copy, f"drop role {role}")


def test_a_file_that_needs_its_one_transaction_fails_statement_by_statement(
    copy: Target, settings: Settings
) -> None:
    text = "set local search_path = app;\nalter table t add column n int;\n"
    found = trace(copy, accepted(text), settings, together=False)
    assert found.error.startswith('20240101_x.sql:2:1: relation "t" does not exist')


def test_a_file_that_ends_its_session_is_told_as_failing(copy: Target, settings: Settings) -> None:
    text = "select pg_terminate_backend(pg_backend_pid());"
    assert "terminating connection" in trace(copy, accepted(text), settings, together=False).error


def test_a_name_that_two_schemas_have_is_the_one_that_the_file_finds(
    copy: Target, settings: Settings
) -> None:
    query(copy, "create schema other; create table other.t (a int references app.u)")
    text = "set search_path = other, app;\nalter table t drop constraint t_a_fkey;\n"
    effects = traced(copy, settings, text).statements[1].effects
    assert [(each.relation, each.target) for each in effects] == [
        ("app.u", False),
        ("other.t", True),
    ]
