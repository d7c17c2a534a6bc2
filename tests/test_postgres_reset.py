"""Reset: all or nothing, only where it may, and nothing of somebody else's is taken along."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from headwater.errors import (
    FilesError,
    HalfDone,
    HistoryError,
    LockBusy,
    MigrationFailed,
    SeedFailed,
    UnsafeTarget,
)
from headwater.files import grammar
from headwater.files.seeds import read_seeds
from headwater.model import Event, Said, Target
from headwater.outcomes import Rebuilt
from headwater.postgres import dropping
from headwater.postgres import reset as resetting
from headwater.postgres.databases import MARK
from headwater.postgres.patience import Patience
from headwater.postgres.reset import reset
from headwater.postgres.run import migrate
from headwater.settings import Settings
from tests.support import (
    folder_with,
    leaked,
    leaking_files,
    migrated,
    query,
    recorded,
    session,
    tables,
    value,
    write_files,
)

INIT = {"0001_init.sql": "create schema app;\ncreate table app.t (i int primary key);\n"}
SECOND = {"0002_second.sql": "create table app.second (i int);"}
BROKEN = {"0002_second.sql": "create table app.second (i int);\nselect nothing;"}
NO_TRANSACTION = "-- headwater: no-transaction\n"
DEFERRED = "create table app.b (i int references app.t deferrable initially deferred);"


def rebuilt(target: Target, settings: Settings, files: dict[str, str]) -> Rebuilt:
    """Reset with these files; afterwards history holds exactly them."""
    done = reset(target, folder_with(settings, files), settings)
    assert recorded(target, settings) == [result.version for result in done.results]
    return done


def yesterday(target: Target, settings: Settings, files: dict[str, str] | None = None) -> None:
    """Build yesterday's database, with a row that is in no file."""
    migrated(target, settings, INIT | (files or {}))
    query(target, "insert into app.t values (42)")


def assert_yesterday(target: Target, settings: Settings, *versions: str) -> None:
    """Require yesterday's row and history."""
    assert query(target, "select i from app.t") == [(42,)]
    assert recorded(target, settings) == ["0001_init", *versions]


def unmark(target: Target) -> None:
    query(target, f"comment on database {target.database} is null")


# --- the whole and its parts ------------------------------------------------------------------


def test_an_empty_database_is_built(target: Target, settings: Settings) -> None:
    done = rebuilt(target, settings, INIT | SECOND)
    assert done.atomic
    assert done.schemas == ("app",)
    assert tables(target) == ["second", "t"]


def test_what_was_there_goes(target: Target, settings: Settings) -> None:
    yesterday(target, settings)
    query(target, "create table app.by_hand ()")
    rebuilt(target, settings, INIT | SECOND)
    assert tables(target) == ["second", "t"]
    assert value(target, "select count(*) from app.t") == 0


def test_a_reset_may_be_repeated(target: Target, settings: Settings) -> None:
    for _ in range(2):
        assert rebuilt(target, settings, INIT).atomic


def test_history_of_files_that_are_gone_goes_too(target: Target, settings: Settings) -> None:
    yesterday(target, settings, SECOND)
    rebuilt(target, settings, INIT)
    assert tables(target) == ["t"]


def test_other_schemas_stay(target: Target, settings: Settings) -> None:
    query(target, "create schema other; create table other.t as select 1 as i")
    rebuilt(target, settings, INIT)
    assert value(target, "select i from other.t") == 1


def test_without_a_file_nothing_is_dropped(target: Target, settings: Settings) -> None:
    yesterday(target, settings)
    with pytest.raises(FilesError, match="there is no migration in"):
        reset(target, folder_with(settings, {}), settings)
    assert_yesterday(target, settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("select 1;\nselect nothing;", "0002_broken.sql:2:8: "),
        ("insert into app.t values (1), (1)", "0002_broken.sql:1:1: "),
        (
            DEFERRED + "insert into app.b values (1)",
            "0002_broken.sql failed at its end: ",
        ),
    ],
    ids=["a missing column", "a constraint", "a deferred constraint"],
)
@pytest.mark.parametrize(
    "verify", ["", 'select true as "fine"'], ids=["alone", "with a post-condition"]
)
def test_a_broken_file_leaves_yesterdays_database(
    target: Target, settings: Settings, text: str, words: str, verify: str
) -> None:
    yesterday(target, settings)
    files = {"0002_broken.sql": text} | ({"0002_broken.verify.sql": verify} if verify else {})
    with pytest.raises(MigrationFailed) as caught:
        rebuilt(target, settings, INIT | files)
    assert caught.value.message.startswith(words)
    assert f"nothing changed in {target.database}" in caught.value.hint
    assert "stay applied" not in caught.value.hint
    assert_yesterday(target, settings)


def test_a_broken_post_condition_leaves_yesterdays_database(
    target: Target, settings: Settings
) -> None:
    yesterday(target, settings)
    files = INIT | SECOND | {"0002_second.verify.sql": 'select false as "it is right"'}
    with pytest.raises(MigrationFailed, match="“it is right” does not hold"):
        rebuilt(target, settings, files)
    assert_yesterday(target, settings)


def test_a_file_that_the_grammar_refuses_is_refused_before_anything(
    target: Target, settings: Settings
) -> None:
    yesterday(target, settings)
    with pytest.raises(FilesError):
        rebuilt(target, settings, INIT | {"0002_second.sql": "selec 1"})
    assert_yesterday(target, settings)


def test_a_connection_that_is_killed_leaves_yesterdays_database(
    target: Target, settings: Settings
) -> None:
    yesterday(target, settings)
    files = INIT | {"0002_second.sql": "select pg_terminate_backend(pg_backend_pid())"}
    with pytest.raises(MigrationFailed, match="the connection was lost; nothing changed"):
        rebuilt(target, settings, files)
    assert_yesterday(target, settings)


def test_history_of_another_tool_is_refused_and_not_emptied(
    target: Target, settings: Settings
) -> None:
    query(target, "create table schema_migrations as select 'x' as version")
    with pytest.raises(HistoryError, match="made by another tool"):
        reset(target, folder_with(settings, INIT), settings)
    assert query(target, "select * from schema_migrations") == [("x",)]


# --- may it be reset? -------------------------------------------------------------------------


def test_a_database_that_is_neither_empty_nor_marked_is_not_touched(
    target: Target, settings: Settings
) -> None:
    yesterday(target, settings)
    unmark(target)
    with pytest.raises(UnsafeTarget) as caught:
        rebuilt(target, settings, INIT | SECOND)
    assert caught.value.exit_code == 2
    assert caught.value.hint.endswith(f"invoke db.disposable {target.database}")
    assert_yesterday(target, settings)
    assert value(target, "select shobj_description(oid, 'pg_database') from pg_database "
                 "where datname = current_database()") is None  # fmt: skip


def test_an_empty_database_needs_no_mark(target: Target, settings: Settings) -> None:
    unmark(target)
    query(target, "create extension pg_trgm")
    rebuilt(target, settings, INIT)


def test_the_mark_is_a_line_among_others_and_stays(target: Target, settings: Settings) -> None:
    comment = f"ours since 2020\n{MARK}\nask Ana"
    query(target, f"comment on database {target.database} is '{comment}'")
    yesterday(target, settings)
    rebuilt(target, settings, INIT)
    assert value(target, "select shobj_description(oid, 'pg_database') from pg_database "
                 "where datname = current_database()") == comment  # fmt: skip


def test_a_line_that_only_begins_like_the_mark_is_none(target: Target, settings: Settings) -> None:
    yesterday(target, settings)
    query(target, f"comment on database {target.database} is 'not {MARK}\n{MARK} no more'")
    with pytest.raises(UnsafeTarget):
        rebuilt(target, settings, INIT)
    assert_yesterday(target, settings)


# --- what the cascade would take --------------------------------------------------------------

RICH = {
    "0001_init.sql": """
    create schema app;
    create table app.t (i int primary key);
    create type app.mood as enum ('fine');
    create type app.pair as (a int, b int);
    create domain app.name as text;
    create sequence app.s;
    create function app.f(i int) returns int immutable language sql return i;
    create function app.trg() returns trigger language plpgsql as $$ begin return new; end $$;
    create function app.ddl() returns event_trigger language plpgsql as $$ begin end $$;
    create collation app.c (provider = libc, locale = 'C');
    create operator app.=== (leftarg = int, rightarg = int, function = int4eq);
    create table app.part (i int) partition by list (i);
    """
}

OUTSIDERS = {
    "view": ("create view v as select * from app.t", "view public.v"),
    "view on a view": (
        "create view u as select * from app.t; create view v as select * from u",
        "view public.v",
    ),
    "materialized view": (
        "create materialized view m as select * from app.t",
        "materialized view public.m",
    ),
    "foreign key": ("create table o (i int references app.t)", "table constraint o_i_fkey on"),
    "column of a type": ("create table o (m app.mood)", "table column public.o.m"),
    "column of a domain": ("create table o (m app.name)", "table column public.o.m"),
    "column of a row type": ("create table o (m app.t)", "table column public.o.m"),
    "collation of a column": ("create table o (m text collate app.c)", "table column public.o.m"),
    "default": (
        "create table o (i int default nextval('app.s'))",
        "default value for public.o.i",
    ),
    "generated column": (
        "create table o (i int, j int generated always as (app.f(i)) stored)",
        "public.o.j",
    ),
    "function by its argument": (
        "create function g(app.mood) returns int language sql return 1",
        "function public.g(app.mood)",
    ),
    "function by its body": (
        "create function g() returns int language sql return app.f(1)",
        "function public.g()",
    ),
    "check": (
        "create table o (i int check (app.f(i) > 0))",
        "table constraint o_i_check on public.o",
    ),
    "index": ("create table o (i int); create index x on o (app.f(i))", "index public.x"),
    "trigger": (
        "create table o (i int); create trigger g before insert on o execute function app.trg()",
        "trigger g on public.o",
    ),
    "policy": (
        "create table o (i int); create policy p on o using (app.f(i) > 0)",
        "policy p on public.o",
    ),
    "event trigger": (
        "create event trigger e on login execute function app.ddl()",
        "event trigger e",
    ),
    "cast": (
        "create cast (app.mood as int) with inout",
        "cast (app.mood AS integer)",
    ),
    "inheritance": ("create table o () inherits (app.t)", "table public.o"),
    "partitioned table": ("create table o (m app.mood) partition by list (m)", "public.o"),
    "typed table": ("create table o of app.pair", "table public.o"),
    "partition": ("create table o partition of app.part default", "table public.o"),
    "publication": ("create publication p for table app.t", "app.t in publication p"),
    "publication of the schema": (
        "create publication p for tables in schema app",
        "app in publication p",
    ),
    "extension": ("create extension pg_trgm schema app", "extension pg_trgm"),
    "operator in a view": ("create view v as select 1 operator(app.===) 1 as x", "view public.v"),
}


def test_what_is_not_rebuilt_is_listed_and_nothing_is_touched(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, RICH)
    query(target, "insert into app.t values (42)")
    wrong = {}
    for name, (statement, listed) in OUTSIDERS.items():
        query(target, statement)
        try:
            reset(target, folder_with(settings, RICH), settings)
        except UnsafeTarget as refused:
            if listed not in refused.detail:
                wrong[name] = refused.detail
        else:
            wrong[name] = "not refused"
            migrated(target, settings, RICH)
            query(target, "insert into app.t values (42)")
        assert_yesterday(target, settings)
        drop_outsiders(target)
    assert wrong == {}


def drop_outsiders(target: Target) -> None:
    query(
        target,
        "drop event trigger if exists e; drop publication if exists p; drop extension if exists "
        "pg_trgm; drop view if exists v, u; drop materialized view if exists m; drop table if "
        "exists o cascade; drop sequence if exists o; drop function if exists g(), "
        "g(app.mood) cascade",
    )


def test_what_the_files_rebuild_is_no_outsider(target: Target, settings: Settings) -> None:
    files = RICH | {
        "0002_public.sql": "create or replace view public.v as select * from app.t;"
        "create extension pg_trgm schema app;"
        "create cast (app.mood as int) with inout;"
    }
    for _ in range(2):
        assert rebuilt(target, settings, files).atomic


def test_a_table_that_only_mentions_a_managed_one_is_no_outsider(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, RICH)
    query(
        target,
        "create table o (i int); comment on table o is 'app.t'; create function g() returns int "
        "language plpgsql as $$ begin return app.f(1); end $$",
    )
    rebuilt(target, settings, RICH)
    assert tables(target, "public") == ["o", "schema_migrations", "schema_migrations_steps"]


# --- several transactions ---------------------------------------------------------------------

MOOD = {
    "0001_init.sql": "create schema app; create table app.t (i int primary key);"
    "do $$ begin if to_regtype('public.mood') is null then "
    "create type public.mood as enum ('fine'); end if; end $$;",
    "0002_add.sql": "alter type public.mood add value if not exists 'sad';",
    "0003_use.sql": "create table app.moods as select 'sad'::public.mood as mood;",
}


def said_by_reset(target: Target, settings: Settings, files: dict[str, str]) -> str:
    """Reset, which must take several transactions, and give what it said."""
    said: list[Event] = []
    done = reset(target, folder_with(settings, files), settings, notify=said.append)
    assert not done.atomic
    assert recorded(target, settings) == [result.version for result in done.results]
    return "\n".join(event.message for event in said if isinstance(event, Said))


def test_an_enum_value_that_a_later_file_uses_is_rehearsed_and_built_in_steps(
    target: Target, settings: Settings
) -> None:
    query(target, "create type mood as enum ('fine')")
    yesterday(target, settings)
    said = said_by_reset(target, settings, MOOD)
    assert 'unsafe use of new value "sad"' in said
    assert "rehearsing on a scratch database first" in said
    assert value(target, "select mood::text from app.moods") == "sad"


CONCURRENTLY = {"0002_index.sql": NO_TRANSACTION + "create index concurrently t_i on app.t (i);\n"}


def test_a_no_transaction_file_is_rehearsed_first(target: Target, settings: Settings) -> None:
    yesterday(target, settings)
    said = said_by_reset(target, settings, INIT | CONCURRENTLY)
    assert said.startswith("rehearsing on a scratch database first")
    assert value(target, "select count(*) from app.t") == 0
    assert value(target, "select to_regclass('app.t_i') is not null")
    assert scratch_databases(target) == []


def scratch_databases(target: Target) -> list[str]:
    """Give the scratch databases that this very test may have left (by its process)."""
    import os

    return [
        row[0]
        for row in query(
            target,
            "select datname from pg_database where datname like 'headwater_scratch_%' and "
            f"shobj_description(oid, 'pg_database') like '%process {os.getpid()} on %'",
        )
    ]


@pytest.mark.parametrize(
    "last",
    [
        "select nothing;",
        NO_TRANSACTION + "select 1; select nothing;",
        NO_TRANSACTION + "select pg_terminate_backend(pg_backend_pid());",
    ],
    ids=["transactional", "no transaction", "lost connection"],
)
def test_a_failing_rehearsal_leaves_yesterdays_database(
    target: Target, settings: Settings, last: str
) -> None:
    yesterday(target, settings)
    with pytest.raises(MigrationFailed, match=r"\(in a rehearsal\)$") as caught:
        rebuilt(target, settings, INIT | CONCURRENTLY | {"0003_last.sql": last})
    assert caught.value.exit_code == 3
    assert f"nothing changed in {target.database}" in caught.value.hint
    assert_yesterday(target, settings)
    assert scratch_databases(target) == []


def test_outsiders_are_refused_before_a_reset_in_steps_as_well(
    target: Target, settings: Settings
) -> None:
    yesterday(target, settings)
    query(target, "create view v as select * from app.t")
    with pytest.raises(UnsafeTarget, match="would take objects outside"):
        rebuilt(target, settings, INIT | CONCURRENTLY)
    assert_yesterday(target, settings)


@pytest.fixture
def small_role(target: Target) -> Target:
    """The target as a role that owns it, and may make neither databases nor roles."""
    name = f"owner_{target.database}"
    query(target, f"create role {name} login password 'x'")
    query(target, f"alter database {target.database} owner to {name}")
    query(target, f"alter schema public owner to {name}")
    return replace(
        target,
        user=name,
        conninfo=psycopg.conninfo.make_conninfo(target.conninfo, user=name, password="x"),
    )


def drop_role(target: Target, role: Target) -> None:
    query(target, f"alter database {target.database} owner to current_user")
    query(target, f"drop owned by {role.user} cascade; drop role {role.user}")


def test_without_the_right_to_rehearse_the_first_error_is_told(
    target: Target, settings: Settings, small_role: Target
) -> None:
    try:
        yesterday(small_role, settings)
        files = INIT | {"0002_b.sql": "insert into app.t values (1), (1)"}
        with pytest.raises(MigrationFailed, match="duplicate key") as caught:
            rebuilt(small_role, settings, files)
        assert "no rehearsal: making the database headwater_scratch_" in caught.value.detail
        assert_yesterday(target, settings)

        with pytest.raises(Exception, match="needs a rehearsal, and making the database"):
            rebuilt(small_role, settings, INIT | CONCURRENTLY)
        assert_yesterday(target, settings)
    finally:
        drop_role(target, small_role)


def test_a_reset_that_dies_while_it_drops_leaves_no_history_of_what_is_gone(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    yesterday(target, settings)

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(resetting, "migrate", lambda *a, **k: die() if k.get("locked") else None)
    with pytest.raises(Killed):
        rebuilt(target, settings, INIT | CONCURRENTLY)
    assert tables(target) == []
    assert recorded(target, settings) == []


# --- deferred constraints ---------------------------------------------------------------------


def test_constraints_stay_deferred_for_every_file(target: Target, settings: Settings) -> None:
    files = INIT | {
        "0002_b.sql": "create table app.b (i int references app.t deferrable initially deferred);"
        "insert into app.b values (1); insert into app.t values (1);",
        "0003_c.sql": "insert into app.b values (2); insert into app.t values (2);",
        "0004_d.sql": "create function app.odd() returns trigger language plpgsql as $$ begin if "
        "(select count(*) from app.b) % 2 = 1 then raise 'odd'; end if; return null; end $$;"
        "create constraint trigger odd after insert on app.b deferrable initially deferred "
        "for each row execute function app.odd();",
        "0005_e.sql": "insert into app.b values (1); insert into app.b values (2);",
    }
    assert rebuilt(target, settings, files).atomic
    assert value(target, "select count(*) from app.b") == 4


def test_what_a_file_deferred_and_breaks_is_told_of_that_file(
    target: Target, settings: Settings
) -> None:
    yesterday(target, settings)
    files = INIT | {
        "0002_odd.sql": "create function app.odd() returns trigger language plpgsql as $$ begin "
        "raise 'odd'; end $$; create constraint trigger odd after insert on app.t "
        "deferrable initially deferred for each row execute function app.odd();",
        "0003_breaks.sql": "insert into app.t values (1);",
        "0004_fine.sql": "select 1;",
    }
    with pytest.raises(MigrationFailed) as caught:
        rebuilt(target, settings, files)
    assert caught.value.message == "0003_breaks.sql failed at its end: odd"
    assert_yesterday(target, settings)


def test_set_constraints_of_one_file_does_not_reach_the_next(
    target: Target, settings: Settings
) -> None:
    foreign_key = "create table app.b (i int references app.t deferrable);"
    files = INIT | {
        "0002_b.sql": foreign_key + "set constraints all deferred;",
        "0003_c.sql": "insert into app.b values (2); insert into app.t values (2);",
    }
    yesterday(target, settings)
    with pytest.raises(MigrationFailed, match=r"0003_c\.sql:1:1"):
        rebuilt(target, settings, files)
    assert_yesterday(target, settings)


# --- session state ----------------------------------------------------------------------------


def test_nothing_of_one_session_reaches_the_next_file(target: Target, settings: Settings) -> None:
    done = rebuilt(target, settings, leaking_files())
    assert done.atomic
    assert leaked(target) == []


def test_files_see_the_search_path_of_the_database(target: Target, settings: Settings) -> None:
    query(target, f"alter database {target.database} set search_path = app, public")
    files = {
        "0001_init.sql": "create table if not exists here (); create schema app;",
        "0002_b.sql": "create table b ();",
        "0003_c.sql": "create table c ();",
    }
    assert rebuilt(target, settings, files).atomic
    assert tables(target, "public")[0] == "here"
    assert tables(target) == ["b", "c"]


# --- locks ------------------------------------------------------------------------------------


def impatient(monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
    patience = Patience(attempts=attempts, first_pause_s=0.02, longest_pause_s=1.0)
    monkeypatch.setattr(resetting, "PATIENCE", patience)


@pytest.mark.parametrize("files", [INIT, INIT | CONCURRENTLY], ids=["atomic", "in steps"])
def test_it_waits_for_locks_ends_nobody_and_gives_up(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]
) -> None:
    yesterday(target, settings)
    impatient(monkeypatch, 2)
    impatient_settings = replace(settings, lock_timeout_ms=50)
    folder = folder_with(settings, files)
    with session(target) as other:
        other.execute("select * from app.t")
        with pytest.raises(LockBusy, match="2 times; nothing changed") as caught:
            reset(target, folder, impatient_settings)
        assert caught.value.exit_code == 5
        assert f"process {other.info.backend_pid} (somebody else as " in caught.value.detail
        assert other.execute("select i from app.t").fetchall() == [(42,)]
    assert_yesterday(target, settings)


@pytest.mark.parametrize("files", [INIT, INIT | CONCURRENTLY], ids=["atomic", "in steps"])
def test_it_goes_on_when_the_lock_is_given_back(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]
) -> None:
    yesterday(target, settings)
    impatient(monkeypatch, 5)
    folder = folder_with(settings, files)
    with session(target) as other:
        other.execute("select * from app.t")

        def listen(event: Event) -> None:
            if isinstance(event, Said) and "lock timeout" in event.message:
                other.rollback()

        reset(target, folder, replace(settings, lock_timeout_ms=50), notify=listen)
    assert value(target, "select count(*) from app.t") == 0


# --- a managed public -------------------------------------------------------------------------

ALL_KINDS = """
create table t (i int primary key, note text);
create view v as select * from t;
create materialized view m as select * from t;
create sequence s;
create type mood as enum ('fine');
create type pair as (a int, b int);
create type span as range (subtype = int);
create domain name_of as text check (value <> '');
create function f(int default 1, out x int) language sql return 1;
create procedure p() language sql as '';
create function "odd ""name"" f"("Größe" mood[], variadic text[]) returns setof t language sql
  as 'select * from t';
create aggregate total(int) (sfunc = int4pl, stype = int, initcond = 0);
create aggregate nothing(*) (sfunc = int8inc, stype = int8, initcond = 0);
create aggregate half(float8 order by anyelement) (sfunc = ordered_set_transition, stype = internal,
  finalfunc = percentile_disc_final, finalfunc_extra);
create operator === (leftarg = int, rightarg = int, function = int4eq);
create operator !!! (rightarg = int, function = int4um);
create operator family fam using btree;
create operator class cls for type int using btree family fam as operator 3 =;
create collation c (provider = libc, locale = 'C');
create conversion conv for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
create text search dictionary dict (template = simple);
create text search configuration cfg (copy = simple);
create text search template tmpl (lexize = dsimple_lexize);
create text search parser prs (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end,
  lextypes = prsd_lextype);
create statistics st on i, note from t;
create table parts (i int) partition by list (i);
create table part partition of parts default;
create table child () inherits (t);
create table "Odd.Name ""x"" t" (i int);
create trigger "tr" before insert on t for each row
  execute function suppress_redundant_updates_trigger();
create rule r as on insert to v do instead nothing;
create policy pol on t;
create function watch() returns event_trigger language plpgsql as $$ begin end $$;
create foreign data wrapper w;
create server srv foreign data wrapper w;
create foreign table ft (i int) server srv;
create index x on t (note);
create table gen (i int, j int generated always as (i + 1) stored);
create table keyed (i int, j int) partition by range ((i + j), i);
create unlogged table ul (i int generated always as identity);
"""
CLEAN = "drop server if exists srv cascade; drop foreign data wrapper if exists w cascade;"

# Everything that stands in public, by the server's own words.
_IN_PUBLIC = """
select o.type, o.identity from pg_depend d
 cross join lateral pg_identify_object(d.classid, d.objid, 0) o
 where d.refclassid = 'pg_namespace'::regclass and d.refobjid = 'public'::regnamespace
   and not exists (select from pg_depend e where e.classid = d.classid and e.objid = d.objid
                      and e.deptype = 'e') order by 1, 2
"""
BOOKKEEPING = [
    ("table", "public.schema_migrations"),
    ("table", "public.schema_migrations_steps"),
]


@pytest.fixture
def public(settings: Settings) -> Settings:
    return replace(settings, schemas=("public",))


def test_every_kind_of_object_in_a_managed_public_goes(target: Target, public: Settings) -> None:
    migrated(target, public, {"0001_all.sql": CLEAN + ALL_KINDS})
    kinds = {kind for kind, _ in query(target, _IN_PUBLIC)}
    assert len(kinds) > 18
    files = {"0001_all.sql": "select 1", "0002_more.sql": CLEAN}
    assert rebuilt(target, public, files).atomic
    assert query(target, _IN_PUBLIC) == BOOKKEEPING


def test_every_kind_of_object_in_a_managed_public_is_rebuilt(
    target: Target, public: Settings
) -> None:
    event_trigger = "create event trigger e on login execute function watch();"
    files = {"0001_all.sql": CLEAN + ALL_KINDS + event_trigger}
    migrated(target, public, files)
    before = query(target, _IN_PUBLIC)
    assert rebuilt(target, public, files).atomic
    assert query(target, _IN_PUBLIC) == before


def test_public_its_owner_its_grants_its_extensions_and_history_stay(
    target: Target, public: Settings
) -> None:
    query(
        target,
        "alter schema public owner to pg_monitor; grant create on schema public "
        "to pg_read_all_data;"
        "comment on schema public is 'ours'; create extension pg_trgm; create extension hstore;"
        "alter default privileges in schema public grant select on tables to pg_monitor",
    )
    query(target, f"alter database {target.database} set search_path = public")
    of_schema = (
        "select nspowner::regrole::text, nspacl::text, obj_description(oid, 'pg_namespace'), "
        "(select defaclacl::text from pg_default_acl) from pg_namespace where nspname = 'public'"
    )
    before = query(target, of_schema)
    history = migrated(target, public, {"0001_t.sql": "create table t (i text, h hstore);"})
    table = value(target, "select 'schema_migrations'::regclass::oid")
    assert rebuilt(target, public, {"0001_t.sql": "create table u ();"}).atomic
    assert history == recorded(target, public)
    assert query(target, of_schema) == before
    assert value(target, "select 'schema_migrations'::regclass::oid") == table
    assert value(target, "select similarity('a', 'a')") == 1
    assert tables(target, "public") == ["schema_migrations", "schema_migrations_steps", "u"]


def test_a_table_named_like_the_history_of_another_schema_is_no_bookkeeping(
    target: Target, public: Settings
) -> None:
    query(target, "create schema ops")
    elsewhere = replace(public, history_schema="ops")
    files = {"0001_t.sql": "create table schema_migrations (i int);"}
    for _ in range(2):
        rebuilt(target, elsewhere, files)


def test_a_managed_public_in_steps(target: Target, public: Settings) -> None:
    files = {"0001_all.sql": CLEAN + ALL_KINDS, "0002_n.sql": NO_TRANSACTION + "vacuum t;"}
    for _ in range(2):
        said_by_reset(target, public, files)


# --- many tables ------------------------------------------------------------------------------


@pytest.mark.slow
def test_more_tables_than_one_transaction_can_lock(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = INIT["0001_init.sql"] + "".join(
        f"create table app.t{n} (i int primary key, t text);\n" for n in range(2_100)
    )
    files = {"0001_init.sql": many}
    migrated(target, settings, files)
    query(target, "insert into app.t values (42)")
    rebuilt(target, settings, files)
    assert len(tables(target)) == 2_101
    assert value(target, "select count(*) from app.t") == 0


def test_a_full_lock_table_means_a_rehearsal_and_batches(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock table is filled by the thousand; here an event trigger says that it is."""
    yesterday(target, settings)
    query(target, "".join(f"create table app.t{n} ();" for n in range(7)))
    query(
        target,
        "create function public.full() returns event_trigger language plpgsql as $$ begin "
        "if (select count(*) from pg_event_trigger_dropped_objects() "
        "where object_type = 'table') > 3 "
        "then raise 'out of shared memory' using errcode = '53200'; end if; end $$;"
        "create event trigger full_ on sql_drop execute function public.full()",
    )
    monkeypatch.setattr(dropping, "_BATCH", 3)
    said = said_by_reset(target, settings, INIT)
    assert "out of shared memory" in said
    assert tables(target) == ["t"]
    assert value(target, "select count(*) from app.t") == 0


PUBLISHED = {
    "0001_init.sql": "create schema app; create table app.t (id int primary key);"
    "create publication published for table app.t;"
}


def test_what_a_file_makes_outside_is_tried_on_the_target_before_anything_is_dropped(
    target: Target, settings: Settings
) -> None:
    """A fresh scratch database lacks the publication; the target has it already."""
    files = PUBLISHED | {
        "0002_n.sql": "-- headwater: no-transaction\ncreate index concurrently x on app.t (id);"
    }
    folder = folder_with(settings, files)
    migrate(target, folder, settings)
    query(target, "insert into app.t values (1)")
    with pytest.raises(MigrationFailed, match='publication "published" already exists') as caught:
        reset(target, folder, settings)
    assert "nothing changed" in caught.value.hint
    assert value(target, "select count(*) from app.t") == 1
    assert recorded(target, settings) == ["0001_init", "0002_n"]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        pytest.param(
            "create table public.o (i int);"
            "create rule r as on insert to public.o do also insert into app.t values (new.i)",
            "rule r on public.o",
            id="a rule of an outside table",
        ),
        pytest.param(
            "create extension hstore schema public; create table public.o (h public.hstore);"
            "alter function public.akeys(public.hstore) set schema app",
            "table column public.o.h",
            id="a member of an extension",
        ),
        pytest.param(
            "create table public.o (i int primary key) partition by range (i);"
            "create table app.p1 partition of public.o for values from (0) to (1)",
            "partition or child app.p1 of public.o",
            id="a partition of an outside table",
        ),
        pytest.param(
            "create table public.o (i int); create table app.c () inherits (public.o)",
            "partition or child app.c of public.o",
            id="a child of an outside table",
        ),
    ],
)
def test_what_goes_by_a_roundabout_way_is_refused_as_well(
    target: Target, settings: Settings, made: str, told: str
) -> None:
    files = {"0001_init.sql": "create schema app; create table app.t (i int);"}
    folder = folder_with(settings, files)
    migrate(target, folder, settings)
    query(target, made)
    with pytest.raises(UnsafeTarget) as caught:
        reset(target, folder, settings)
    assert told in caught.value.detail.splitlines()
    assert tables(target, "public") >= ["o"]


def test_a_file_that_ran_before_is_not_parsed_again_and_leaves_the_same_history(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "0001_init.sql": "create schema app; create table app.t (i int);",
        "0002_b.sql": "create table app.b (); -- no semicolon behind\nselect 1",
    }
    folder = folder_with(settings, files)
    rows = "select version, checksum, tokens from schema_migrations order by 1"
    first = reset(target, folder, settings)
    recorded_first = query(target, rows)
    monkeypatch.setattr(grammar, "parse", lambda _text: pytest.fail("it was parsed"))
    again = reset(target, folder, settings)
    assert query(target, rows) == recorded_first
    assert [r.statements for r in again.results] == [r.statements for r in first.results] == [2, 2]


def test_a_file_that_ran_before_still_shows_its_line_when_it_fails_now(
    target: Target, settings: Settings
) -> None:
    files = {"0001_init.sql": "create schema app;\n\nselect 1 / (select count(*) from public.o);"}
    query(target, "create table public.o as select 1")
    reset(target, folder_with(settings, files), settings)
    query(target, "delete from public.o")
    with pytest.raises(MigrationFailed, match=r"0001_init\.sql:3:1: division by zero"):
        reset(target, folder_with(settings, files), settings)
    assert recorded(target, settings) == ["0001_init"]


# --- seeds ------------------------------------------------------------------------------------

SEEDS = {
    "10_a.sql": "insert into app.t values (1);",
    "20_b.py": "def seed(connection):\n    connection.execute('insert into app.t values (2)')\n",
}
# The three ways in which a row does not fit, and one that is only at fault in its own transaction.
DOES_NOT_FIT = (
    "insert into app.t values (1);",
    "insert into app.t values (null);",
    "insert into app.gone values (1);",
)
# Fails everywhere but in a rehearsal.
ONLY_REHEARSED = """\
def seed(connection):
    [name] = connection.execute("select current_database()").fetchone()
    assert name.startswith("headwater_scratch_")
"""


def reseeded(
    target: Target,
    settings: Settings,
    files: dict[str, str],
    seeds: dict[str, str],
    said: list[str] | None = None,
) -> Rebuilt:
    """Reset with these files and seeds; `said` takes what was told meanwhile."""
    write_files(settings.root / "seeds", SEEDS | seeds)

    def notify(event: Event) -> None:
        if said is not None and isinstance(event, Said):
            said.append(event.message)

    folder = folder_with(settings, files)
    return reset(target, folder, settings, seeds=read_seeds(settings), notify=notify)


def test_the_seeds_run_in_the_transaction_of_the_rebuild(
    target: Target, settings: Settings
) -> None:
    yesterday(target, settings)
    done = reseeded(target, settings, INIT, {})
    assert done.atomic
    assert [seed.name for seed in done.seeds] == ["10_a.sql", "20_b.py"]
    assert query(target, "select i from app.t order by 1") == [(1,), (2,)]
    assert recorded(target, settings) == ["0001_init"]


def test_without_seeds_none_are_run(target: Target, settings: Settings) -> None:
    write_files(settings.root / "seeds", SEEDS)
    assert rebuilt(target, settings, INIT).seeds == ()
    assert value(target, "select count(*) from app.t") == 0


def test_a_broken_seed_leaves_yesterday(target: Target, settings: Settings) -> None:
    yesterday(target, settings)
    for text in DOES_NOT_FIT:
        said = list[str]()
        with pytest.raises(SeedFailed, match=r"^seeds/30_c\.sql:1") as caught:
            reseeded(target, settings, INIT | SECOND, {"30_c.sql": text}, said)
        assert caught.value.hint == (
            f"nothing changed in {target.database}; mend the seed and run invoke reset --seed again"
        )
        assert not [message for message in said if "rehears" in message]
        assert_yesterday(target, settings)


def test_a_python_seed_that_commits_leaves_yesterday(target: Target, settings: Settings) -> None:
    yesterday(target, settings)
    for end in ("connection.commit()", "connection.execute('commit')"):
        text = f"def seed(connection):\n    {end}\n"
        with pytest.raises(SeedFailed):
            reseeded(target, settings, INIT | SECOND, {"30_c.py": text})
        assert_yesterday(target, settings)


def test_a_python_seed_that_leaves_the_transaction_is_not_said_to_have_changed_nothing(
    target: Target, settings: Settings
) -> None:
    """A failed statement, and ROLLBACK: with them goes what refuses a COMMIT."""
    yesterday(target, settings)
    text = """
import psycopg

def seed(connection):
    try:
        connection.execute("nonsense")
    except psycopg.Error:
        connection.execute("rollback")
    connection.execute("insert into app.t values (77)")
    connection.execute("commit")
"""
    with pytest.raises(SeedFailed) as caught:
        reseeded(target, settings, INIT | SECOND, {"30_c.py": text})
    assert "may have stayed" in caught.value.hint
    assert "nothing changed" not in caught.value.hint


def test_a_seed_that_is_refused_touches_nothing(target: Target, settings: Settings) -> None:
    yesterday(target, settings)
    with pytest.raises(FilesError, match="in the seeds"):
        reseeded(target, settings, INIT | SECOND, {"30_c.sql": "drop table app.t;"})
    assert_yesterday(target, settings)


def test_where_one_transaction_cannot_do_the_seeds_are_rehearsed(
    target: Target, settings: Settings
) -> None:
    yesterday(target, settings)
    files = INIT | {"0002_second.sql": NO_TRANSACTION + "create table app.second (i int);"}
    with pytest.raises(SeedFailed, match="in a rehearsal") as caught:
        reseeded(target, settings, files, {"30_c.sql": DOES_NOT_FIT[0]})
    assert "nothing changed" in caught.value.hint
    assert_yesterday(target, settings)
    done = reseeded(target, settings, files, {"30_c.sql": "select 1;"})
    assert (done.atomic, len(done.seeds)) == (False, 3)
    assert query(target, "select i from app.t order by 1") == [(1,), (2,)]


def test_a_seed_that_fails_behind_a_rehearsal_says_what_is_left(
    target: Target, settings: Settings
) -> None:
    yesterday(target, settings)
    files = INIT | {"0002_second.sql": NO_TRANSACTION + "create table app.second (i int);"}
    with pytest.raises(HalfDone, match="rebuilt already, and without seeds") as caught:
        reseeded(target, settings, files, {"30_c.py": ONLY_REHEARSED})
    assert caught.value.hint == "mend the seed and run invoke reset --seed again"
    assert recorded(target, settings) == ["0001_init", "0002_second"]
    assert value(target, "select count(*) from app.t") == 0


def test_what_a_seed_needs_another_transaction_for_is_done_in_steps(
    target: Target, settings: Settings
) -> None:
    files = INIT | {"0002_second.sql": DEFERRED}
    # A trigger that is pending, of a row of a migration, is in the way of nothing but TRUNCATE.
    files["0003_rows.sql"] = "insert into app.t values (7); insert into app.b values (7);"
    done = reseeded(target, settings, files, {"30_c.sql": "truncate app.b;"})
    assert (done.atomic, len(done.seeds)) == (False, 3)
