"""Preflight: what the rows of a target would refuse, asked before anything runs.

Every case is run as well, and rolled back: what is told must fail, what is not told must not.
"""

# ruff: noqa: E501 - a case is one statement on one line
from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import conninfo

from headwater.checks.preflight import Preflight, preflight
from headwater.errors import HeadwaterError
from headwater.files.accepted import Accepted
from headwater.files.locks import Named
from headwater.model import Migration, Severity, Target
from headwater.postgres.asked_tables import Lookup
from headwater.postgres.asking import volatile_among
from headwater.postgres.connect import connect, target_of
from headwater.settings import DatabaseChoice
from tests.conftest import FreshDatabase
from tests.support import query

# Rows are the same in every test: nothing is written, and what is run is rolled back.
SCHEMA = """
create schema app;
create table app.u (id bigint primary key, code text collate "C" unique, a int, b int,
                    unique (a, b));
insert into app.u values (1, 'one', 1, 1), (2, 'two', 2, 2);
create table app.t (
    id bigint not null, a integer, b integer, name text, short varchar(10), fixed char(6),
    price numeric(8, 2), rate float8, big bigint, at timestamptz, "Odd ""Name" text
);
insert into app.t values
    (1, 1, 1, 'one', 'short', 'ab', 1.25, 1.5, 1, '2024-01-01', 'x'),
    (2, 2, 3, 'two', 'longer one', 'abcdef', 123456.78, 1e300, 3000000000, '2024-02-01', 'y'),
    (2, null, 1, 'TWO', 'ab        ', null, 'NaN', null, null, null, 'y'),
    (3, -3, null, '3', null, '12', null, 'NaN', 2, '2024-03-01', null);
create table app.empty (id bigint, a integer, name text);
create table app.child () inherits (app.empty);
create table app.parted (id bigint, at date) partition by range (at);
create table app.parted_2024 partition of app.parted for values from ('2024-01-01') to ('2025-01-01');
create table app.parted_rest partition of app.parted default;
insert into app.parted values (1, '2024-05-05'), (1, '2023-05-05'), (2, null);
create table app.joins (id bigint, at date);
insert into app.joins values (5, '2025-03-31'), (6, '2025-04-01');
create table app.pairs (n integer, k text) partition by range (n, k);
create table app.pairs_to_join (n integer, k text);
insert into app.pairs_to_join values (1, 'a'), (1, 'z'), (2, 'a');
create table app.kinds (kind text) partition by list (lower(kind));
create table app.kinds_to_join (kind text);
insert into app.kinds_to_join values ('A'), ('b'), (null);
create table app.hashed (id bigint) partition by hash (id);
create table app.hashed_to_join (id bigint);
insert into app.hashed_to_join select generate_series(1, 10);
create table app.listed (n integer) partition by list (n);
create table app.listed_1 partition of app.listed for values in (1);
create table app.listed_to_join (n integer);
insert into app.listed_to_join values (1), (7), (null);
create domain app.amount as integer;
create table app.uses (id bigint, value app.amount);
insert into app.uses values (1, 5), (2, -5), (3, null);
create domain app.clean as integer;
create table app.uses_clean (v app.clean);
insert into app.uses_clean values (500);
alter domain app.clean add constraint later check (value > 100) not valid;
create domain app.dirty as integer;
create table app.uses_dirty (v app.dirty);
insert into app.uses_dirty values (5);
alter domain app.dirty add constraint later check (value > 100) not valid;
alter table app.t add constraint a_positive check (a > 0) not valid;
alter table app.t add constraint id_positive check (id > 0) not valid;
alter table app.t add constraint to_u foreign key (b) references app.u (id) not valid;
create unique index ids on app.u (id);
create table app.keyed (id bigint, a integer);
insert into app.keyed values (1, null);
create unique index keyed_a on app.keyed (a) include (id);
create unique index keyed_id on app.keyed (id);
create function app.is_odd(integer) returns boolean language sql immutable as 'select $1 % 2 = 1';
create function app.unmarked(integer) returns boolean language sql as 'select true';
create type app.kind as enum ('one', 'two');
create extension citext schema app;
create table app.ci (c app.citext unique);
insert into app.ci values ('One');
create table app.refers (c app.citext);
insert into app.refers values ('ONE');
"""


@dataclass(frozen=True)
class Place:
    target: Target
    url: str


@pytest.fixture(scope="module")
def place(fresh_database: FreshDatabase) -> Generator[Place]:
    with fresh_database() as url:
        query(url, SCHEMA)
        yield Place(target_of(DatabaseChoice(source="test", url=url)), url)


def files(*texts: str) -> list[Accepted]:
    return [
        Accepted(migration=Migration(version=f"{n:04}_f", text=text, checksum=""))
        for n, text in enumerate(texts, 1)
    ]


def asked(
    target: Target, *texts: str, patience_ms: int = 5_000, together_s: float = 60
) -> Preflight:
    with connect(target, purpose="test", impatient=True) as connection:
        return preflight(connection, files(*texts), patience_ms=patience_ms, together_s=together_s)


def fails(url: str, text: str) -> str:
    """Run a file and roll it back; give the class of the error that rows have caused, if any."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("set time zone 'UTC'")
                connection.execute(text.encode())
        except psycopg.Error as error:
            return str(error.diag.sqlstate)
    return ""


FAILS = [
    # NULL
    (
        "alter table app.t alter a set not null",
        "null",
        "SET NOT NULL would fail: 1 row of app.t with NULL in a",
    ),
    (
        "alter table app.t add primary key (a)",
        "null",
        "PRIMARY KEY would fail: 1 row of app.t with NULL in a",
    ),
    (
        "alter table app.t add column n int not null",
        "null",
        "4 rows of app.t without a value for n",
    ),
    ("alter table app.t add column n int not null default null", "null", "4 rows of app.t"),
    ("alter table app.t add column n int primary key", "null", "4 rows of app.t"),
    (
        'alter table app.t alter "Odd ""Name" set not null',
        "null",
        '1 row of app.t with NULL in Odd "Name',
    ),
    ("alter table app.parted alter at set not null", "null", "1 row of app.parted with NULL in at"),
    (
        "alter table app.t add constraint n not null a",
        "null",
        "NOT NULL would fail: 1 row of app.t with NULL in a",
    ),
    (
        "alter table app.keyed add primary key using index keyed_a",
        "null",
        "PRIMARY KEY would fail: 1 row of app.keyed with NULL in a",
    ),
    # duplicates
    (
        "alter table app.t add constraint x unique (id)",
        "duplicate",
        "UNIQUE (id) would fail: 1 value of app.t in more than one row",
    ),
    ("alter table app.t add primary key (id)", "duplicate", "1 value of app.t"),
    ("create unique index x on app.t (lower(name))", "duplicate", "1 value of app.t"),
    ('create unique index x on app.t ("Odd ""Name")', "duplicate", "1 value of app.t"),
    ("create unique index x on app.t (b) where id <> 3", "duplicate", "1 value of app.t"),
    # orphans
    (
        "alter table app.t add foreign key (b) references app.u",
        "orphan",
        "FOREIGN KEY (b) would fail: 1 row of app.t without a row of app.u to refer to",
    ),
    (
        "alter table app.t add foreign key (name) references app.u (code)",
        "orphan",
        "2 rows of app.t",
    ),
    (
        "alter table app.t add foreign key (a, b) references app.u (a, b)",
        "orphan",
        "1 row of app.t",
    ),
    (
        "alter table app.t add foreign key (a, b) references app.u (a, b) match full",
        "orphan",
        "3 rows of app.t",
    ),
    (
        "alter table app.t validate constraint to_u",
        "orphan",
        "VALIDATE CONSTRAINT to_u would fail: 1 row of app.t",
    ),
    # checks
    (
        "alter table app.t add check (a > 0)",
        "check",
        "CHECK (a > 0) would fail: 1 row of app.t for which it is false",
    ),
    (
        "alter table app.t add constraint c check (app.is_odd(b) and t.a <> 2)",
        "check",
        "1 row of app.t",
    ),
    ("alter table app.t add check (10 / (a - 1) > 0)", "check", "at least 1 row of app.t"),
    ("alter table app.t add check (name not like '%o%')", "check", "2 rows of app.t"),
    (
        "alter table app.t validate constraint a_positive",
        "check",
        "VALIDATE CONSTRAINT a_positive would fail: 1 row",
    ),
    # too long
    (
        "alter table app.t alter name type varchar(2)",
        "too-long",
        "type varchar(2) would fail: 3 rows of app.t whose name does not fit",
    ),
    ("alter table app.t alter short type varchar(5)", "too-long", "1 row of app.t"),
    ("alter table app.t alter fixed type char(3)", "too-long", "1 row of app.t"),
    ("alter table app.t alter name type char(2) using name || '!'", "too-long", "3 rows of app.t"),
    ("alter table app.t alter price type numeric(5, 2)", "too-long", "1 row of app.t"),
    ("alter table app.t alter price type numeric(8, 3)", "too-long", "1 row of app.t"),
    ("alter table app.t alter big type integer", "too-long", "1 row of app.t"),
    ("alter table app.t alter rate type bigint", "too-long", "2 rows of app.t"),
    (
        "alter table app.t alter a type smallint using big::smallint",
        "cast",
        "at least 1 row of app.t",
    ),
    # casts
    (
        "alter table app.t alter name type integer using name::integer",
        "cast",
        "3 rows of app.t whose name cannot become one",
    ),
    ("alter table app.t alter name type app.kind using name::app.kind", "cast", "2 rows of app.t"),
    (
        "alter table app.t alter name type integer using trim(name)::integer",
        "cast",
        "at least 1 row of app.t",
    ),
    ("alter table app.t alter name type date using name::date", "cast", "4 rows of app.t"),
    (
        "alter table app.t alter price type real using (price / 0)::real",
        "cast",
        "at least 1 row of app.t",
    ),
    # partitions
    (
        "alter table app.parted attach partition app.joins for values from ('2025-01-01') to ('2025-04-01')",
        "partition",
        "ATTACH PARTITION would fail: 1 row of app.joins outside its bounds",
    ),
    (
        "alter table app.parted attach partition app.joins for values from ('2021-01-01') to ('2023-01-01')",
        "partition",
        "2 rows of app.joins",
    ),
    (
        "create table app.more partition of app.parted for values from ('2023-01-01') to ('2024-01-01')",
        "partition",
        "a new partition would fail: 1 row of app.parted_rest that belong to it",
    ),
    (
        "alter table app.pairs attach partition app.pairs_to_join for values from (1, 'b') to (2, minvalue)",
        "partition",
        "2 rows of app.pairs_to_join",
    ),
    (
        "alter table app.pairs attach partition app.pairs_to_join for values from (1, maxvalue) to (maxvalue, maxvalue)",
        "partition",
        "2 rows of app.pairs_to_join",
    ),
    (
        "alter table app.pairs attach partition app.pairs_to_join for values from (minvalue, minvalue) to (2, 'a')",
        "partition",
        "1 row of app.pairs_to_join",
    ),
    (
        "alter table app.kinds attach partition app.kinds_to_join for values in ('a', 'b')",
        "partition",
        "1 row of app.kinds_to_join",
    ),
    (
        "alter table app.hashed attach partition app.hashed_to_join for values with (modulus 2, remainder 0)",
        "partition",
        "of app.hashed_to_join",
    ),
    (
        "alter table app.listed attach partition app.listed_to_join default",
        "partition",
        "1 row of app.listed_to_join that belong to another partition",
    ),
    # domains
    (
        "alter domain app.amount add check (value > 0)",
        "check",
        'CHECK (value > 0) of the domain "app"."amount" would fail: 1 row of app.uses whose value breaks it',
    ),
    ("alter domain app.amount set not null", "null", "1 row of app.uses"),
    ("alter domain app.dirty validate constraint later", "check", "1 row of app.uses_dirty"),
]

HOLDS = [
    "alter table app.t alter id set not null",
    "alter table app.t add constraint n not null a not valid",
    "alter table app.t add check (a > 0) not enforced",
    "alter table app.t add column n int not null default 5",
    "alter table app.t add column n bigserial not null",
    "alter table app.t add column n int generated always as identity not null",
    "alter table app.t add column n int not null generated always as (id * 2) stored",
    "alter table app.empty add column n int not null",
    "alter table app.t add unique (name)",
    "alter table app.t add unique (a)",
    "alter table app.t add unique (a, b)",
    'create unique index x on app.t (name collate "C", (a % 2))',
    "create unique index x on app.t (b) where a > 0",
    "create unique index x on app.t (fixed) nulls not distinct",
    "alter table app.u add constraint y unique using index ids",
    "alter table app.keyed add primary key using index keyed_id",
    "create index x on app.t (b)",
    "alter table app.t add foreign key (b) references app.u not valid",
    "alter table app.t add constraint f foreign key (a) references app.u (id) not valid, add check (a > 0) not valid",
    "alter table app.t add column u_id bigint references app.u",
    "alter table app.refers add foreign key (c) references app.ci (c)",
    "alter table app.t add check (a <> 0)",
    "alter table app.t add check (id > 0)",
    "alter table app.t validate constraint id_positive",
    "alter table app.t alter name type varchar(3)",
    "alter table app.t alter short type varchar(10)",
    "alter table app.t alter short type text",
    "alter table app.t alter name type char(6)",
    "alter table app.t alter fixed type varchar(6)",
    "alter table app.t alter price type numeric(9, 3)",
    "alter table app.t alter price type numeric(6, 0)",
    "alter table app.t alter a type smallint",
    "alter table app.t alter a type bigint",
    "alter table app.t alter big type text",
    "alter table app.t alter at type timestamp",
    "alter table app.t alter big type boolean using big > 0",
    "alter table app.t alter name type varchar(2) using left(name, 2)",
    "alter table app.t alter name type app.kind using case when name = 'one' then name end::app.kind",
    "alter table app.parted attach partition app.joins for values from ('2025-01-01') to ('2025-04-02')",
    "create table app.more partition of app.parted for values from ('2026-01-01') to ('2027-01-01')",
    "alter table app.pairs attach partition app.pairs_to_join for values from (1, 'a') to (2, 'b')",
    "alter table app.pairs attach partition app.pairs_to_join for values from (0, maxvalue) to (2, maxvalue)",
    "alter table app.pairs attach partition app.pairs_to_join for values from (minvalue, minvalue) to (maxvalue, maxvalue)",
    "alter table app.kinds attach partition app.kinds_to_join for values in ('a', 'b', null)",
    "alter table app.hashed attach partition app.hashed_to_join for values with (modulus 1, remainder 0)",
    "alter domain app.amount add check (value <> 0)",
    "alter domain app.amount add check (value > 0) not valid",
    "alter domain app.clean validate constraint later",
    "alter domain app.clean set not null",
    "alter table app.t alter b drop not null, alter b set default 5",
]


@pytest.mark.parametrize(("text", "about", "told"), FAILS)
def test_what_the_rows_would_refuse_is_told_and_does_fail(
    place: Place, text: str, about: str, told: str
) -> None:
    done = asked(place.target, text)
    [finding] = done.findings
    assert (finding.rule, finding.severity, finding.file, finding.line) == (
        f"would-fail-{about}",
        Severity.ERROR,
        "0001_f.sql",
        1,
    )
    assert told in finding.message
    assert done.notes == ()
    assert fails(place.url, text)[:2] in ("22", "23"), "the rows do not refuse it"


@pytest.mark.parametrize("text", HOLDS)
def test_what_the_rows_allow_is_not_told(place: Place, text: str) -> None:
    assert asked(place.target, text) == Preflight()
    assert fails(place.url, text) == "", "it fails all the same"


# --- what is not asked ------------------------------------------------------------------------


def test_a_question_is_found_behind_what_else_a_file_does(place: Place) -> None:
    done = asked(
        place.target,
        "create table app.other (id bigint);",
        "-- a comment\nselect 1;\n\nalter table app.t\n  alter a set not null;",
    )
    [finding] = done.findings
    assert (finding.file, finding.line, finding.column) == ("0002_f.sql", 4, 1)
    assert (finding.end_line, finding.end_column) == (5, 23)
    assert (finding.source, finding.relation) == ("alter table app.t", "app.t")


def test_a_finding_shows_a_query_that_lists_the_rows(place: Place) -> None:
    for text, _, _ in FAILS:
        [finding] = asked(place.target, text).findings
        _, _, listing = finding.measured.partition("to see some: ")
        if "at least" in finding.message:
            assert fails(place.url, listing)[:2] == "22"
        else:
            assert query(place.url, listing), f"{listing} lists nothing"


@pytest.mark.parametrize("text", [case[0] for case in FAILS if case[1] == "cast"])
def test_no_value_of_a_row_is_told(place: Place, text: str) -> None:
    [finding] = asked(place.target, text).findings
    for told in ("'one'", '"one"', '"two"', "3000000000"):
        assert told not in repr(finding)


def test_names_are_looked_up_as_the_file_would_find_them(place: Place) -> None:
    name = conninfo.conninfo_to_dict(place.url)["dbname"]
    text = "alter table t alter a set not null"
    assert asked(place.target, text) == Preflight()
    query(place.url, f"alter database {name} set search_path = app")
    try:
        [finding] = asked(place.target, text).findings
        assert finding.relation == "app.t"
    finally:
        query(place.url, f"alter database {name} reset search_path")


SILENT = [
    # Tables and columns that an earlier statement makes, and others that are not there.
    "create table app.n (a int); alter table app.n add unique (a)",
    "alter table app.t rename to was; create table app.t (a int); alter table app.t alter a set not null",
    "alter table app.t rename a to was_a; alter table app.t alter was_a set not null",
    (
        "alter table app.t drop column a; alter table app.t add column a int default 1;"
        " alter table app.t alter a set not null"
    ),
    "alter table app.not_there alter a set not null",
    "alter table app.t alter not_there set not null",
    "alter table app.empty add column n int not null references app.not_there",
    # What is no table's.
    "alter view app.v alter column a set default 1",
    "create unique index x on app.not_there (a)",
    "alter domain app.not_there add check (value > 0)",
    "alter table app.t validate constraint not_there",
    "alter table app.t attach partition app.joins for values in (1)",
]


@pytest.mark.parametrize("text", SILENT)
def test_what_is_not_there_yet_is_not_asked(place: Place, text: str) -> None:
    assert asked(place.target, text) == Preflight()


WRITTEN = [
    "update app.t set a = 1 where a is null; alter table app.t alter a set not null",
    "with x as (update app.t set a = 1 returning 1) select * from x; alter table app.t alter a set not null",
    "delete from app.t; alter table app.t add column n int not null",
    "truncate app.t; alter table app.t add column n int not null",
    "insert into app.u values (3); alter table app.t add foreign key (b) references app.u",
    (
        "delete from app.parted_rest; create table app.more partition of app.parted"
        " for values from ('2023-01-01') to ('2024-01-01')"
    ),
    (
        "delete from app.parted; create table app.more partition of app.parted"
        " for values from ('2023-01-01') to ('2024-01-01')"
    ),
    "delete from app.uses; alter domain app.amount add check (value > 0)",
    "merge into app.t using app.u on t.id = u.id when matched then delete; alter table app.t add unique (id)",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_what_an_earlier_statement_writes_is_a_note(place: Place, text: str) -> None:
    done = asked(place.target, text)
    [note] = done.notes
    assert done.findings == ()
    assert note.startswith("0001_f.sql:1: ")
    assert "0001_f.sql:1 changes" in note


@pytest.mark.parametrize(
    "block",
    ["do $$ begin update app.t set a = 1; end $$", "call app.mend()", "select app.mend()"],
)
def test_behind_a_block_that_may_mend_the_rows_a_finding_is_a_warning(
    place: Place, block: str
) -> None:
    done = asked(place.target, f"{block};\nalter table app.t alter a set not null;")
    [finding] = done.findings
    assert finding.severity is Severity.WARNING
    assert "unless 0001_f.sql:1 corrects them before" in finding.message


def test_a_constraint_of_this_run_is_asked_about_when_it_is_validated(place: Place) -> None:
    added = "alter table app.t add constraint c check (a > 0) not valid, add constraint d check (id > 0) not valid;"
    assert asked(place.target, added) == Preflight()
    [finding] = asked(
        place.target,
        added,
        "alter table app.t validate constraint d;\nalter table app.t validate constraint c;",
    ).findings
    assert (finding.file, finding.line, finding.rule) == ("0002_f.sql", 2, "would-fail-check")
    [of_domain] = asked(
        place.target,
        "alter domain app.amount add constraint p check (value > 0) not valid;",
        "alter domain app.amount validate constraint p;",
    ).findings
    assert of_domain.rule == "would-fail-check"


def test_a_volatile_function_is_not_called(place: Place) -> None:
    done = asked(place.target, "alter table app.t add check (app.unmarked(a))")
    [note] = done.notes
    assert done.findings == ()
    assert "app.unmarked is VOLATILE" in note


def test_a_function_that_says_what_it_is_not_cannot_write(place: Place) -> None:
    query(
        place.url,
        "create sequence if not exists app.s; create or replace function app.liar(int) "
        "returns boolean immutable language sql as $$ select nextval('app.s') > 0 $$",
    )
    done = asked(place.target, "alter table app.t add check (app.liar(a))")
    assert done.findings == ()
    assert "the expression would write" in done.notes[0]
    assert query(place.url, "select is_called from app.s") == [(False,)]


# --- patience, rights -------------------------------------------------------------------------


def test_a_question_that_takes_too_long_is_given_up_and_told(place: Place) -> None:
    query(
        place.url,
        "create or replace function app.slow(int) returns boolean immutable language plpgsql "
        "as $$ begin perform pg_sleep(5); return true; end $$",
    )
    done = asked(
        place.target,
        "alter table app.t add check (app.slow(a));\nalter table app.t alter a set not null;",
        patience_ms=1_000,
    )
    assert done.notes == ("0001_f.sql:1: app.t could not be asked: no answer within 1 s",)
    assert [finding.line for finding in done.findings] == [2]


def test_all_questions_together_have_an_end(place: Place) -> None:
    done = asked(place.target, "alter table app.t alter a set not null", together_s=0)
    assert done.findings == ()
    assert "have taken all the time that there is" in done.notes[0]


def test_a_table_that_somebody_locks_is_not_waited_for(place: Place) -> None:
    with psycopg.connect(place.url) as somebody:
        somebody.execute("lock table app.t in access exclusive mode")
        done = asked(place.target, "alter table app.t alter a set not null", patience_ms=200)
        somebody.rollback()
    assert done.findings == ()
    assert "could not be asked" in done.notes[0]


def test_a_role_without_rights_gets_notes(place: Place, low_role: Target) -> None:
    done = asked(
        low_role, "alter table app.t alter a set not null; alter table app.u add check (a < 2)"
    )
    assert done.findings == ()
    assert done.notes == (
        "0001_f.sql:1: app.t could not be asked: this role may not read it",
        "0001_f.sql:1: app.u could not be asked: row security hides rows of it from this role",
    )


@pytest.fixture
def low_role(place: Place) -> Generator[Target]:
    """A role that may use the schema and read app.u, of which row security shows it nothing."""
    role = "headwater_test_low_of_preflight"
    query(
        place.url,
        f"create role {role} login password 'low'; grant usage on schema app to {role};"
        f"grant select on app.u to {role}; alter table app.u enable row level security",
    )
    url = conninfo.make_conninfo(place.url, user=role, password="low")
    yield target_of(DatabaseChoice(source="test", url=url))
    query(
        place.url,
        f"alter table app.u disable row level security; drop owned by {role}; drop role {role}",
    )


def test_more_rows_than_anybody_counts_are_many(place: Place) -> None:
    query(
        place.url,
        "create table if not exists app.many as select null::int n from generate_series(1, 1500)",
    )
    [finding] = asked(place.target, "alter table app.many alter n set not null").findings
    assert "more than 1,000 rows of app.many" in finding.message


def test_nothing_is_left_in_the_session(place: Place) -> None:
    with connect(place.target, purpose="test") as connection:
        before = connection.execute("select name, setting from pg_settings order by 1").fetchall()
        preflight(connection, files("alter table app.t alter a set not null"))
        after = connection.execute("select name, setting from pg_settings order by 1").fetchall()
        in_transaction = {"transaction_read_only", "transaction_isolation"}
        assert [row for row in after if row not in before and row[0] not in in_transaction] == []


VERSIONED = """
create schema app;
create table app.t (a integer, name text);
insert into app.t values (1, '1'), (null, 'x'), (-1, '3'), (-1, '4');
"""


def test_every_version_is_asked(versioned: Target) -> None:
    query(versioned, VERSIONED)
    done = asked(
        versioned,
        "alter table app.t alter a set not null; alter table app.t add unique (a);"
        "alter table app.t add check (a > 0); alter table app.t alter name type int using name::int;",
    )
    assert [finding.rule for finding in done.findings] == [
        "would-fail-null",
        "would-fail-duplicate",
        "would-fail-check",
        "would-fail-cast",
    ]
    assert done.notes == ()


def test_a_lost_connection_is_told_in_a_sentence(place: Place) -> None:
    with connect(place.target, purpose="test") as connection:
        connection.close()
        with pytest.raises(HeadwaterError, match="asking about functions"):
            volatile_among(connection, [Named("app", "f")])
        with pytest.raises(HeadwaterError, match="looking up the tables"):
            Lookup(connection=connection).table(Named("app", "t"))
