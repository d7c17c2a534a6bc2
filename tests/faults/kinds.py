"""Migrations of many kinds, over one small schema, for the tests that break them at every point.

What they write does not depend on time or chance, so that a run that was broken and repeated must
end in the same rows as one that was not.
"""

from __future__ import annotations

from tests.faults.injection import BOUNDARY

BASE = {
    "0001_base.sql": """
create schema app;
create table app.docs (id int primary key, title text not null, state text default 'new');
insert into app.docs select i, 'title ' || i, 'new' from generate_series(1, 20) i;
create index docs_title on app.docs (title);
create table app.few (id int primary key, n int not null);
insert into app.few values (1, 0), (2, 0);
create table app.log (what text);
create type app.mood as enum ('sad', 'ok');
create table app.events (id int not null, at date not null) partition by range (at);
create table app.events_2024 partition of app.events
    for values from ('2024-01-01') to ('2025-01-01');
create table app.events_2025 partition of app.events
    for values from ('2025-01-01') to ('2026-01-01');
insert into app.events values (1, '2024-03-01'), (2, '2025-03-01');
create function app.title_of(id int) returns text language sql stable
    as $$ select title from app.docs d where d.id = title_of.id $$;
"""
}


def put_in(text: str) -> str:
    """Put a boundary where a line says `--`: between statements that no event trigger sees."""
    return "\n".join(BOUNDARY if line.strip() == "--" else line for line in text.splitlines())


# name -> (migration, post-condition). DDL is broken by the event trigger, the rest at its `--`.
TRANSACTIONAL: dict[str, tuple[str, str]] = {
    "tables": (
        """
create table app.people (id int primary key, name text not null);
create table app.notes (id int primary key, person int references app.people);
create index on app.notes (person);
comment on table app.notes is 'what people write';
""",
        "",
    ),
    "columns": (
        """
alter table app.docs add owner text not null default 'nobody';
alter table app.docs drop state;
alter table app.docs rename title to name;
alter table app.docs alter id type bigint;
""",
        "",
    ),
    "data": (
        """
--
insert into app.docs values (21, 'more', 'new');
--
update app.docs set state = 'old' where id <= 10;
--
delete from app.docs where id = 5;
--
with moved as (delete from app.docs where id = 6 returning *)
    insert into app.log select title from moved;
--
""",
        "",
    ),
    "functions": (
        """
create function app.one() returns int language plpgsql as $body$
begin return length('; commit; $$'); end; $body$;
create function app.two(i int) returns int language sql begin atomic select i; select i + 1; end;
create procedure app.log_it(what text) language sql as $$ insert into app.log values (what); $$;
create function app.touch() returns trigger language plpgsql as $$
begin insert into app.log values (new.title); return new; end $$;
create trigger touched before insert on app.docs for each row execute function app.touch();
insert into app.docs values (22, 'touched', 'new');
call app.log_it('called');
--
""",
        "",
    ),
    "blocks": (
        """
do $$ begin
    for n in 1..3 loop
        execute format('create table app.part%s (i int)', n);
        execute format('insert into app.part%s values (%s)', n, n);
    end loop;
end $$;
--
do $do$ begin insert into app.log values ($$in a block;$$); end $do$;
--
""",
        "",
    ),
    "partitions": (
        """
create table app.events_2026 partition of app.events
    for values from ('2026-01-01') to ('2027-01-01');
insert into app.events values (3, '2026-05-01');
--
alter table app.events detach partition app.events_2024;
create index on app.events (at);
alter table app.events attach partition app.events_2024
    for values from ('2024-01-01') to ('2025-01-01');
""",
        "",
    ),
    "enums": (
        """
alter type app.mood add value 'happy' after 'ok';
alter type app.mood rename value 'sad' to 'blue';
create type app.size as enum ('s', 'm');
alter table app.docs add mood app.mood default 'ok', add size app.size;
update app.docs set size = 'm' where id = 1;
--
""",
        "",
    ),
    "views": (
        """
create view app.new_docs as select * from app.docs where state = 'new';
create materialized view app.titles as select title from app.docs;
create unique index on app.titles (title);
refresh materialized view app.titles;
create or replace rule no_delete as on delete to app.new_docs do instead nothing;
""",
        "",
    ),
    "policies": (
        """
alter table app.docs enable row level security;
alter table app.docs force row level security;
create policy readers on app.docs for select using (state = 'new');
grant select on app.docs to pg_monitor;
revoke execute on function app.title_of from public;
""",
        "",
    ),
    "many statements": (
        "\n".join(
            f"create table app.t{n} (i int); insert into app.t{n} values ({n});\n--"
            for n in range(5)
        ),
        "",
    ),
    "a post-condition": (
        """
update app.few set n = n + 1;
--
alter table app.few add check (n < 10);
""",
        """
select count(*) = 2 and fault.boundary() as "both are counted" from app.few where n = 1;
select fault.boundary() as "the second one is asked too";
""",
    ),
    "constraints": (
        """
create sequence app.numbers start 100;
create domain app.short as text check (length(value) < 10);
alter table app.log add nr app.short;
alter table app.docs add constraint short check (length(title) < 100) not valid;
alter table app.docs validate constraint short;
alter table app.few add foreign key (id) references app.docs deferrable initially deferred;
""",
        "",
    ),
    "what goes away": (
        """
drop index app.docs_title;
drop table app.events_2025;
truncate app.log;
--
drop type app.mood;
drop function app.title_of;
drop schema if exists nobody cascade;
""",
        "",
    ),
    "settings of the session": (
        """
set search_path = app;
--
set local role pg_read_all_data;
reset role;
create table by_its_bare_name (i int);
set session_replication_role = replica;
insert into log values ('replica');
--
""",
        "",
    ),
}

_HEAD = "-- headwater: no-transaction\n"

NO_TRANSACTION: dict[str, tuple[str, str]] = {
    "an index": (
        """
create index concurrently docs_state on app.docs (state);
create unique index concurrently few_n on app.few (id, n);
insert into app.log values ('indexed');
""",
        "",
    ),
    "an index over a function": (
        # Its build calls the function for each row: the fault leaves an INVALID index.
        """
create index concurrently few_f on app.few (fault.same(n));
insert into app.log values ('indexed');
""",
        "",
    ),
    "an index that goes": (
        """
drop index concurrently app.docs_title;
insert into app.log values ('dropped');
""",
        "",
    ),
    "a new index": (
        """
reindex index concurrently app.docs_title;
reindex table concurrently app.few;
insert into app.log values ('made anew');
""",
        "",
    ),
    "values of an enum": (
        """
alter type app.mood add value 'happy' before 'ok';
alter type app.mood add value 'glad';
alter table app.docs add mood app.mood;
update app.docs set mood = 'glad' where id < 4;
""",
        "",
    ),
    "plain statements": (
        """
insert into app.log values ('once');
update app.few set n = n + 1;
--
create table app.plain (i int);
do $$ begin insert into app.log values ('by a block'); end $$;
insert into app.plain values (1);
""",
        "",
    ),
    "a partition": (
        """
alter table app.events detach partition app.events_2024 concurrently;
insert into app.log values ('detached');
""",
        "",
    ),
    "a vacuum": (
        """
vacuum app.docs;
update app.few set n = n + 1;
vacuum (analyze) app.few;
""",
        "",
    ),
    "with a post-condition": (
        """
create index concurrently docs_state on app.docs (state);
update app.few set n = n + 1;
""",
        """select count(*) = 2 and fault.boundary() as "both are counted"
from app.few where n = 1""",
    ),
}

# Used by an index: pretends to be immutable, and passes a boundary for each row.
SAME = """
create function fault.same(i int) returns int immutable language plpgsql
    as $$ begin perform fault.boundary(); return i; end $$;
"""


def files_of(name: str) -> dict[str, str]:
    """Give a kind as files behind BASE."""
    text, verify = (TRANSACTIONAL | NO_TRANSACTION)[name]
    head = _HEAD if name in NO_TRANSACTION else ""
    files = BASE | {"0002_kind.sql": head + put_in(text)}
    return files | ({"0002_kind.verify.sql": verify} if verify else {})
