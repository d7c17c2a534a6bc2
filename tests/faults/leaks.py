"""What one file may leave in its session beside tests/support.LEAKS, and by how many ways.

Those there say what can be left; these say how: by a word in the file, by text that is put
together as it runs, by code that an earlier file has brought, by code that nobody calls by name
(a trigger, a default, a constraint), and what DISCARD ALL itself does not undo.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.support import LEAK_SETUP, LEAKS


@dataclass(frozen=True, slots=True)
class Leak:
    """A statement that leaves something, the query that sees it, and what it needs before it."""

    leaves: str
    sees: str
    setup: str = ""


def _known(name: str) -> str:
    """See a parameter that the server has come to know: '' is no longer NULL."""
    return f"current_setting('{name}', true) is not null"


_SETS = """
create function app.sets() returns int language plpgsql as $$
begin perform set_config('leak.a', '1', false); return 1; end $$;
"""
_KEEPS_SET = (
    "create function app.sets() returns int language sql set leak.b = '1' as $$ select 1 $$;"
)
_BUILDS = """
create function app.sets() returns int language plpgsql as $$
begin execute 'se' || 't leak.c = 1'; return 1; end $$;
"""
_SPELT = "' || 'ak.d = 1"

MORE_LEAKS = {
    # --- what DISCARD ALL does not undo
    "seed of random()": Leak("select setseed(0.25)", "random() = {seeded}"),
    "seed by SET": Leak("set seed to 0.25", "random() = {seeded}"),
    "parameter that was reset": Leak("set leak.e = '1'; reset leak.e", _known("leak.e")),
    "parameter for the transaction": Leak("set local leak.f = '1'", _known("leak.f")),
    "parameter of a name in quotes": Leak('set "leak"."g" = \'1\'', _known("leak.g")),
    "parameter behind a comment": Leak("set/* */leak/**/ . /**/h = '1'", _known("leak.h")),
    "parameter by a function's clause": Leak(f"{_KEEPS_SET} select app.sets()", _known("leak.b")),
    "parameter by text that is put together": Leak(
        f"do $$ begin execute 'set le{_SPELT}'; end $$", _known("leak.d")
    ),
    "library": Leak("load 'auto_explain'", _known("auto_explain.log_analyze")),
    "library by a function of its own": Leak(
        "select app.similarity('a', 'b')",
        _known("pg_trgm.similarity_threshold"),
        "create extension pg_trgm schema app; ",
    ),
    "parameter by a function of an extension": Leak(
        "select app.set_limit(0.9)",
        "coalesce(current_setting('pg_trgm.similarity_threshold', true), '') = '0.9'",
        "create extension pg_trgm schema app;",
    ),
    "connection of an extension": Leak(
        "select app.dblink_connect('leak', '{conninfo}')",
        "coalesce('leak' = any (app.dblink_get_connections()), false)",
        "create extension dblink schema app;",
    ),
    "replication origin": Leak(
        "select pg_replication_origin_session_setup('{unique}')",
        "pg_replication_origin_session_is_setup()",
    ),
    "temporary replication slot": Leak(
        "select pg_create_physical_replication_slot('{unique}', false, true)",
        "exists (select from pg_replication_slots where active_pid = pg_backend_pid())",
    ),
    # --- code that was there before
    "parameter by a function": Leak("select app.sets()", _known("leak.a"), _SETS),
    "parameter by a function that builds its text": Leak(
        "select app.sets()", _known("leak.c"), _BUILDS
    ),
    "parameter by a function with SET": Leak("select app.sets()", _known("leak.b"), _KEEPS_SET),
    "parameter by a trigger": Leak(
        "insert into app.hit values (1)",
        _known("leak.a"),
        f"{_SETS} create table app.hit (i int); create function app.fires() returns trigger "
        "language plpgsql as $$ begin perform app.sets(); return new; end $$;"
        "create trigger t before insert on app.hit for each row execute function app.fires();",
    ),
    "parameter by a default": Leak(
        "insert into app.hit values (default)",
        _known("leak.a"),
        f"{_SETS} create table app.hit (i int default app.sets());",
    ),
    "parameter by a check": Leak(
        "insert into app.hit values (1)",
        _known("leak.a"),
        f"{_SETS} create table app.hit (i int check (app.sets() = i));",
    ),
    "parameter by a view": Leak(
        "select * from app.hit",
        _known("leak.a"),
        f"{_SETS} create view app.hit as select app.sets();",
    ),
    "parameter by a rule": Leak(
        "insert into app.hit values (1)",
        _known("leak.a"),
        f"{_SETS} create table app.hit (i int); "
        "create rule r as on insert to app.hit do also select app.sets();",
    ),
    "parameter by a domain": Leak(
        "select 1::app.hit",
        _known("leak.a"),
        f"{_SETS} create domain app.hit as int check (app.sets() = value);",
    ),
    "parameter by an operator": Leak(
        "select 1 operator(app.<<<<) 1",
        _known("leak.a"),
        f"{_SETS} create function app.op(int, int) returns int language sql "
        "as $$ select app.sets() $$;"
        "create operator app.<<<< (leftarg = int, rightarg = int, function = app.op);",
    ),
    "parameter by an event trigger": Leak(
        "create table app.made (i int)",
        _known("leak.a"),
        f"{_SETS} create function app.fires() returns event_trigger language plpgsql as "
        "$$ begin perform app.sets(); end $$;"
        "create event trigger {unique} on ddl_command_end execute function app.fires();",
    ),
    "parameter by an index": Leak(
        "create index on app.hit (app.builds(i))",
        _known("leak.a"),
        f"{_SETS} create table app.hit (i int); insert into app.hit values (1);"
        "create function app.builds(i int) returns int language plpgsql immutable "
        "as $$ begin return app.sets(); end $$;",
    ),
    "parameter by a generated column": Leak(
        "create table app.made (i int, j int generated always as (app.builds(i)) stored);"
        "insert into app.made values (1)",
        _known("leak.a"),
        f"{_SETS} create function app.builds(i int) returns int language plpgsql immutable "
        "as $$ begin return app.sets(); end $$;",
    ),
    # --- what DISCARD ALL undoes, by other ways than its own statement
    "role by set_config": Leak(
        "select set_config('role', 'pg_monitor', false)", "current_user = 'pg_monitor'"
    ),
    "read-only by characteristics": Leak(
        "set session characteristics as transaction read only",
        "current_setting('default_transaction_read_only') = 'on'",
    ),
    "deferrable by characteristics": Leak(
        "set session characteristics as transaction deferrable",
        "current_setting('default_transaction_deferrable') = 'on'",
    ),
    "shared advisory lock": Leak(
        "select pg_advisory_lock_shared(98)",
        "exists (select from pg_locks where pid = pg_backend_pid() and objid = 98)",
    ),
    "temporary table by a block": Leak(
        "do $$ begin create temp table leak (); end $$",
        "to_regclass('pg_temp.leak') is not null",
    ),
    "prepared statement by a block": Leak(
        "do $$ begin execute 'prepare leak as select 1'; end $$",
        "exists (select from pg_prepared_statements where name = 'leak')",
    ),
    "last value by an insert": Leak(
        "insert into app.counted default values",
        "app.knows_last_value()",
        "create table app.counted (i int generated always as identity);",
    ),
    "name of the application": Leak(
        "set application_name = 'leak'", "current_setting('application_name') = 'leak'"
    ),
    "schema by SET SCHEMA": Leak(
        "set schema 'app'", "current_setting('search_path') in ('app', '\"app\"')"
    ),
    "encoding by SET NAMES": Leak(
        "set names 'latin1'", "current_setting('client_encoding') ilike 'latin1'"
    ),
    "zone by SET TIME ZONE": Leak(
        "set time zone 'Europe/Madrid'", "current_setting('TimeZone') = 'Europe/Madrid'"
    ),
}


def every_leak() -> dict[str, Leak]:
    """Give all of them, those of tests/support first."""
    return {name: Leak(leaves, sees) for name, (leaves, sees) in LEAKS.items()} | MORE_LEAKS


SETUP = LEAK_SETUP + "create table app.seen (leaked boolean);"
