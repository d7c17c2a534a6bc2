"""The locks that a text says it takes are those that the server gives, statement by statement."""

from __future__ import annotations

import re
from collections.abc import Generator

import psycopg
import pytest

from headwater.files.grammar import parse
from headwater.files.locks import Named, locks_of
from headwater.model import Target
from headwater.outcomes import LockMode
from headwater.postgres.connect import Connection

SETUP = """
create schema app;
create table app.parents (id int primary key, note text);
create table app.t (id int primary key, parent int, note text,
    constraint positive check (id > 0) not valid, constraint lonely unique (note));
create index t_note_idx on app.t (note);
create table app.children (id int primary key, parent int references app.parents);
create table app.log (at timestamptz not null) partition by range (at);
create table app.log_1 partition of app.log for values from ('2024-01-01') to ('2025-01-01');
create table app.log_2 (at timestamptz not null);
create table app.empty (id int, parent int, note text);
create view app.v as select id from app.parents;
create materialized view app.m as select id from app.parents;
create unique index on app.m (id);
create function app.f() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger touched before update on app.t for each row execute function app.f();
create policy mine on app.t using (true);
create rule nothing as on insert to app.empty do also select 1;
create sequence app.s;
create type app.kind as (a int);
create publication everything;
"""

# One statement, or several on one line, each with what it is about.
STATEMENTS = """
select * from app.t
select * from app.t for update
select * from app.t for share
with parents as (select 1 as id) select * from parents join app.t using (id)
with kept as (select * from app.t) insert into app.parents select id, note from kept
insert into app.t (id) values (1)
insert into app.t (id) select id from app.parents
update app.t set note = 'x'
update app.t set note = p.note from app.parents p where p.id = t.parent
delete from app.t
delete from app.t using app.parents p where p.id = t.parent
merge into app.children c using app.parents p on p.id = c.id when matched then delete
truncate app.t, app.children
create index on app.t (parent)
drop index app.t_note_idx
reindex table app.t
reindex index app.t_note_idx
analyze app.t
cluster app.t using t_pkey
create statistics app.st on id, note from app.t
create trigger again before insert on app.t for each row execute function app.f()
drop trigger touched on app.t
create policy other on app.t using (true)
alter policy mine on app.t using (false)
drop policy mine on app.t
create rule more as on delete to app.t do also select 1
drop rule nothing on app.empty
create view app.w as select * from app.t
create or replace view app.v as select id from app.parents
drop view app.v
create materialized view app.n as select * from app.t
refresh materialized view app.m
refresh materialized view concurrently app.m
drop materialized view app.m
create table app.copy as select * from app.t
create table app.alike (like app.t)
create table app.heir () inherits (app.t)
create table app.log_3 partition of app.log for values from ('2025-01-01') to ('2026-01-01')
create table app.more (p int references app.parents)
create table app.more (p int, foreign key (p) references app.parents (id))
drop table app.t
comment on table app.t is 'x'
comment on column app.t.note is 'x'
comment on constraint positive on app.t is 'x'
comment on trigger touched on app.t is 'x'
comment on index app.t_note_idx is 'x'
lock table app.t in access share mode
lock table app.t in row share mode
lock table app.t in row exclusive mode
lock table app.t in share update exclusive mode
lock table app.t in share mode
lock table app.t in share row exclusive mode
lock table app.t in exclusive mode
lock table app.t
alter table app.t add column c int
alter table app.t add column c int references app.parents
alter table app.t drop column note
alter table app.t alter note type varchar(9)
alter table app.t alter note set not null
alter table app.t alter note drop not null
alter table app.t alter note set default 'x'
alter table app.t alter note set statistics 100
alter table app.t alter note set (n_distinct = 5)
alter table app.t alter note set storage external
alter table app.t alter note set compression pglz
alter table app.t add constraint k check (id > 1)
alter table app.t add constraint k check (id > 1) not valid
alter table app.t add constraint k unique (parent)
alter table app.t add constraint k foreign key (parent) references app.parents
alter table app.t add constraint k foreign key (parent) references app.parents not valid
alter table app.t validate constraint positive
alter table app.t drop constraint positive
alter table app.t enable row level security
alter table app.t disable trigger touched
alter table app.t disable trigger user
alter table app.t enable always trigger touched
alter table app.t set (fillfactor = 50)
alter table app.t reset (fillfactor)
alter table app.t set unlogged
alter table app.t cluster on t_pkey
alter table app.t set without cluster
alter table app.t replica identity full
alter table app.t owner to current_user
alter table app.t inherit app.empty
alter table app.log attach partition app.log_2 for values from ('2025-01-01') to ('2026-01-01')
alter table app.log detach partition app.log_1
alter table app.t validate constraint positive, add column c int
alter view app.v set (security_barrier = true)
alter view app.v rename to w
alter table app.t rename to u
alter table app.t rename note to remark
alter table app.t rename constraint positive to negative
alter trigger touched on app.t rename to moved
alter policy mine on app.t rename to yours
alter table app.t set schema public
alter sequence app.s increment 2
alter type app.kind add attribute b int
alter index app.t_note_idx set (fillfactor = 50)
alter index app.t_note_idx rename to other_idx
grant select on app.t to public
create publication papers for table app.t
alter publication everything add table app.t
copy app.t to '/dev/null'
""".strip().splitlines()

# Named in full, so that a statement that changes the names changes nothing here.
_BEFORE = """
create temp table before as
select c.oid, c.relname, c.relkind from pg_class c
 where c.relnamespace = 'app'::regnamespace
"""
_HELD = """
select c.relname, c.relkind, l.mode
  from pg_locks l join before c on c.oid = l.relation
 where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.granted
"""


@pytest.fixture
def database(versioned: Target) -> Generator[Connection]:
    """A database with every kind of relation, and a list of them, on each version in turn."""
    with psycopg.connect(versioned.conninfo, autocommit=True) as connection:
        connection.execute(SETUP)
        connection.execute(_BEFORE)
        yield connection


def in_words(mode: str) -> LockMode:
    """Turn `ShareRowExclusiveLock` into the words of the manual."""
    return LockMode(re.sub("(?<=.)(?=[A-Z])", " ", mode.removesuffix("Lock")).upper())


def held_by(connection: Connection, statement: str) -> tuple[dict[str, LockMode], set[str]]:
    """Run a statement; give the strongest lock on each relation that was there, and the tables."""
    connection.execute("begin")
    try:
        connection.execute(statement.encode())
        rows = connection.execute(_HELD).fetchall()
    finally:
        connection.execute("rollback")
    held = dict[str, LockMode]()
    for name, _, mode in rows:
        found = in_words(mode)
        held[name] = max(held.get(name, found), found, key=lambda one: one.rank)
    return held, {name for name, kind, _ in rows if kind != "i"}


def difference(connection: Connection, text: str) -> str:
    """Say how a text and the server differ about what the text names; nothing where they agree."""
    there = {name for (name,) in connection.execute("select relname from before").fetchall()}
    held, tables = held_by(connection, text)
    said = {n.name: mode for n, mode in locks_of([parse(text)]).items() if n.name in there}
    named = {name for name in tables if re.search(rf"\b{name}\b", text)}
    if said == {name: mode for name, mode in held.items() if name in said} and named <= set(said):
        return ""
    return f"{text}\n   said {said}\n   held {held}"


def test_each_statement_takes_the_locks_that_its_text_says(database: Connection) -> None:
    # GRANT locks its table since 18; before, it is told of a lock that it does not take.
    older = database.info.server_version < 18_00_00
    texts = [text for text in STATEMENTS if not (older and text.startswith("grant"))]
    differences = [found for text in texts if (found := difference(database, text))]
    right = len(texts) - len(differences)
    print(f"statements whose locks are told rightly: {right} of {len(texts)}")
    assert len(texts) > 90
    assert not differences, "\n".join(differences)


def test_the_strongest_lock_of_several_statements_is_told_once() -> None:
    texts = ("select * from app.t", "alter table app.t add c int; select * from app.t")
    scripts = [parse(text) for text in texts]
    assert locks_of(scripts) == {Named("app", "t"): LockMode.ACCESS_EXCLUSIVE}


# They let locks go before they end, or run in no transaction: docs/locks.md has measured them.
ALONE = {
    "vacuum app.t": {"t": "SHARE UPDATE EXCLUSIVE"},
    "vacuum full app.t": {"t": "ACCESS EXCLUSIVE"},
    "vacuum (full, analyze) app.t": {"t": "ACCESS EXCLUSIVE"},
    "vacuum (full false) app.t": {"t": "SHARE UPDATE EXCLUSIVE"},
    "vacuum (full 0) app.t": {"t": "SHARE UPDATE EXCLUSIVE"},
    "create index concurrently on app.t (a)": {"t": "SHARE UPDATE EXCLUSIVE"},
    "drop index concurrently app.i": {"i": "SHARE UPDATE EXCLUSIVE"},
    "reindex table concurrently app.t": {"t": "SHARE UPDATE EXCLUSIVE"},
    "reindex (concurrently) index app.i": {"i": "SHARE UPDATE EXCLUSIVE"},
    "reindex (concurrently false) table app.t": {"t": "SHARE"},
    "reindex (concurrently 0) index app.i": {"i": "ACCESS EXCLUSIVE"},
    # The partition itself is taken for a moment at the end.
    "alter table app.p detach partition app.p1 concurrently": {
        "p": "SHARE UPDATE EXCLUSIVE",
        "p1": "ACCESS EXCLUSIVE",
    },
    "alter table app.p detach partition app.p1 finalize": {
        "p": "SHARE UPDATE EXCLUSIVE",
        "p1": "ACCESS EXCLUSIVE",
    },
}


@pytest.mark.parametrize("text", ALONE)
def test_what_runs_alone_takes_the_locks_that_were_measured(text: str) -> None:
    said = locks_of([parse(text)])
    assert {named.name: mode.value for named, mode in said.items()} == ALONE[text]


def test_a_name_of_with_is_no_table() -> None:
    script = parse("with t as (select 1) select * from t, app.t")
    assert set(locks_of([script])) == {Named("app", "t")}


def test_every_mode_says_what_it_blocks() -> None:
    assert [mode.rank for mode in LockMode] == list(range(8))
    assert LockMode.ACCESS_EXCLUSIVE.blocks == "blocks reads and writes"
    assert all(mode.blocks for mode in LockMode)
