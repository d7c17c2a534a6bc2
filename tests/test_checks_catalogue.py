"""The catalogue layer: what is questionable, which of it is new, and where it is told of."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest

from headwater.checks.catalogue import Fact, Span, catalogue_facts, new_facts, new_findings
from headwater.checks.rules import EXAMPLE_SCHEMA, Rule
from headwater.checks.rules.catalogue import CATALOGUE
from headwater.files.grammar import parse
from headwater.model import Layer, Severity, Target
from headwater.postgres.connect import Connection, connect, pin
from tests.conftest import disposable_on

BY_ID = {rule.id: rule for rule in CATALOGUE}


@pytest.fixture(scope="module")
def example_database(server: Target) -> Generator[Target]:
    """A database of the private server with what stands before every example."""
    with disposable_on(server) as target, pinned(target) as connection:
        connection.execute(EXAMPLE_SCHEMA.encode())
        yield target


@pytest.fixture
def database(example_database: Target) -> Generator[Connection]:
    """A connection to it, inside a transaction that is rolled back."""
    with pinned(example_database) as connection, connection.transaction(force_rollback=True):
        yield connection


@contextmanager
def pinned(target: Target) -> Generator[Connection]:
    with connect(target, purpose="test") as connection:
        pin(connection, lock_timeout_ms=5000)
        yield connection


def run(connection: Connection, text: str) -> None:
    """Run a file: whole, or one statement a message where it has no transaction."""
    if "headwater: no-transaction" not in text:
        connection.execute(text.encode())
        return
    for statement in parse(text).statements:
        connection.execute(statement.text.encode())


def made_by(connection: Connection, text: str, setup: str = "") -> tuple[Fact, ...]:
    """Give the facts that a file makes behind a setup."""
    if setup:
        run(connection, setup)
    before = catalogue_facts(connection)
    run(connection, text)
    return new_facts(before, catalogue_facts(connection))


def rules_of(connection: Connection, text: str, setup: str = "") -> list[str]:
    return [fact.rule for fact in made_by(connection, text, setup)]


def severity_of(fact: Fact) -> Severity:
    return fact.severity or BY_ID[fact.rule].severity


# What a bad example shows beside its own rule: there a NOT VALID is the safe form.
BESIDE = {
    "foreign-key-without-index": {"unvalidated-constraint"},
    "foreign-key-narrower": {"unvalidated-constraint"},
}


# --- the rules --------------------------------------------------------------------------------


def wrong_about(connection: Connection, rule: Rule) -> list[str]:
    """Run both examples of a rule; say which does not give what it must."""
    wrong = []
    for name, text in {"bad": rule.bad, "good": rule.good}.items():
        with fresh_examples(connection, text):
            facts = made_by(connection, text, rule.setup)
        bad = {fact.rule for fact in facts} == {rule.id} | BESIDE.get(rule.id, set())
        loud = [fact for fact in facts if severity_of(fact) is not Severity.INFO]
        good = not loud and rule.id not in {fact.rule for fact in facts}
        if not (bad if name == "bad" else good):
            wrong.append(f"{rule.id}, {name}: {[fact.words for fact in facts]}")
    return wrong


@contextmanager
def fresh_examples(connection: Connection, text: str) -> Generator[None]:
    """Take back what an example does: with its transaction, or else by hand."""
    if "headwater: no-transaction" not in text:
        with connection.transaction(force_rollback=True):
            yield
        return
    yield
    connection.execute(b"drop schema app cascade")
    connection.execute(EXAMPLE_SCHEMA.encode())


def test_each_rule_finds_its_bad_example_and_nothing_of_its_good_one_on_every_version(
    versioned: Target,
) -> None:
    with pinned(versioned) as connection:
        connection.execute(EXAMPLE_SCHEMA.encode())
        wrong = [one for rule in CATALOGUE for one in wrong_about(connection, rule)]
    print(f"examples of the catalogue: {2 * len(CATALOGUE) - len(wrong)} of {2 * len(CATALOGUE)}")
    assert wrong == []
    assert len(CATALOGUE) > 15


def test_each_rule_says_which_layer_it_is_of_and_what_to_do_in_a_sentence() -> None:
    assert len(BY_ID) == len(CATALOGUE)
    for rule in CATALOGUE:
        assert rule.layer is Layer.CATALOGUE
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
        assert rule.why.endswith(".")
        assert not rule.instead.endswith(".")


def test_the_reference_schema_has_nothing_above_information(
    reference_database: Callable[[], AbstractContextManager[str]],
) -> None:
    with reference_database() as url, psycopg.connect(url) as connection:
        facts = catalogue_facts(connection, ("kb", "core"))
    assert {fact.words for fact in facts if severity_of(fact) is not Severity.INFO} == set()
    assert {fact.object for fact in facts} == {"audit_log_insert on kb.audit_log"}


# --- what is seen exactly ---------------------------------------------------------------------

KEY = "alter table app.t add constraint f foreign key (u_id) references app.u (id);"
PAIRS = (
    "create table app.two (x bigint, y bigint, primary key (x, y));"
    "create table app.one (id bigint primary key, x bigint, y bigint,"
    " constraint f foreign key (x, y) references app.two);"
)
LOCKED = "alter table app.t enable row level security;"
PARTED = (
    "create table app.p (id bigint primary key, a bigint) partition by range (id);"
    "create table app.p_1 partition of app.p for values from (1) to (10);"
)
PARTED_KEY = "alter table app.p add foreign key (a) references app.u;"
POLICED = "alter table app.p enable row level security; create policy own on app.p using (a = 1);"
OWNED = f"{LOCKED} create policy own on app.t using (a = 1);"
DEFINER = "language sql security definer set search_path = ''"
OPEN = "grant usage on schema app to pg_monitor;"

# What is run -> the rules that find it; what stands before the line `--` is there before.
CASES: dict[str, tuple[str, ...]] = {
    # Foreign keys and their indexes.
    f"{KEY} create index on app.t (u_id, a)": (),
    f"{KEY} create index on app.t (a, u_id)": ("foreign-key-without-index",),
    f"{KEY} create index on app.t (u_id) where u_id is not null": (),
    f"{KEY} create index on app.t (u_id) where a is not null": ("foreign-key-without-index",),
    f"{KEY} create index on app.t (u_id) where u_id > 5": ("foreign-key-without-index",),
    f"{KEY} create index on app.t (a) include (u_id)": ("foreign-key-without-index",),
    f"{KEY} create index on app.t ((u_id + 0))": ("foreign-key-without-index",),
    f"{KEY} create index on app.t using hash (u_id)": (),
    f"{KEY} create index on app.t using brin (u_id)": ("foreign-key-without-index",),
    f"{PAIRS} create index on app.one (y, x, id)": (),
    f"{PAIRS} create index on app.one (y, id, x)": ("foreign-key-without-index",),
    f"create index i_u on app.t (u_id); {KEY}\n--\ndrop index app.i_u": (
        "foreign-key-without-index",
    ),
    f"{PARTED} {PARTED_KEY} create index on app.p (a)": (),
    f"{PARTED} {PARTED_KEY}": ("foreign-key-without-index",),
    "create table app.s (id bigint primary key, u smallint unique);"
    "create table app.r (id integer primary key, s bigint unique);"
    "alter table app.s add foreign key (u) references app.r;"
    "alter table app.r add foreign key (s) references app.s": (
        "foreign-key-narrower",
        "integer-key",
    ),
    f"{PAIRS} create index on app.one (y) include (x)": ("foreign-key-without-index",),
    f"{PARTED} {PARTED_KEY} create index on only app.p (a)": (
        "foreign-key-without-index",
        "invalid-index",
    ),
    # Keys.
    "create table app.q (a bigint) partition by list (a);"
    "create table app.q_1 partition of app.q default": ("no-primary-key",),
    PARTED: (),
    "create table app.n (a bigint unique not null)": ("no-primary-key",),
    "create table app.n (a integer, b integer, primary key (a, b))": (),
    "create table app.n (a smallint primary key, name text)": (),
    "create table app.n (a integer primary key references app.u)": ("foreign-key-narrower",),
    "create table app.n (a bigint primary key, b smallint generated always as identity)": (
        "integer-key",
    ),
    "create table app.n (id serial primary key); alter table app.n alter id type bigint": (
        "narrow-sequence",
    ),
    "create table app.n (id int generated always as identity primary key);"
    "alter table app.n alter id type bigint": (),
    "create table app.n (id bigserial primary key, a serial, b integer, c smallint)": (
        "integer-key",
    ),
    "create table app.n (id serial primary key); create table app.m () inherits (app.n)": (
        "integer-key",
        "no-primary-key",
    ),
    "create table app.n (id serial primary key, a integer not null)\n--\n"
    "alter table app.n alter a add generated always as identity": ("integer-key",),
    "create temp table n (a integer)": (),
    "create table app.n (a integer); alter extension plpgsql add table app.n": (),
    # Indexes.
    "create index on app.t (a desc)": (),
    "create index on app.t (a) where a > 5": (),
    "create index on app.t (a) include (b)": (),
    "create index on app.t using hash (a)": (),
    "create index on app.t (name); create index on app.t (name text_pattern_ops)": (),
    'create index on app.t (name); create index on app.t (name collate "C")': (),
    "create index on app.t (lower(name)); create index on app.t (lower(name))": (
        "duplicate-index",
    ),
    "create index on app.t (lower(name)); create index on app.t (upper(name))": (),
    "create index on app.t (b) where a > 5; create index on app.t (b) where a > 5": (
        "duplicate-index",
    ),
    "create unique index on app.t (a)": ("duplicate-index",),
    "create unique index on app.t (id)": ("duplicate-index",),
    "create unique index on app.t (b); create unique index on app.t (b) nulls not distinct": (
        "duplicate-index",
    ),
    "create table app.n (a bigint primary key, unique (a))": (),
    "create unique index on app.t (b); create unique index on app.t (b)": ("duplicate-index",),
    "create unique index on app.t (b) nulls not distinct;"
    "create unique index on app.t (b) nulls not distinct": ("duplicate-index",),
    "alter table app.t add unique (b) deferrable; alter table app.t add unique (b) deferrable": (
        "duplicate-index",
    ),
    "create table app.n (a bigint unique not null, b int, primary key (b, a));"
    "alter table app.n replica identity using index n_a_key;"
    "create unique index on app.n (a)": ("duplicate-index",),
    "create table app.n (id bigint primary key, a bigint unique not null);"
    "create unique index n_a on app.n (a);"
    "alter table app.n replica identity using index n_a": (),
    "create table app.n (a bigint primary key, r int8range, exclude using gist (r with &&),"
    " exclude using gist (r with =))": (),
    "create table app.n (a bigint primary key, r int8range, exclude using gist (r with &&));"
    "create index on app.n using gist (r)": ("duplicate-index",),
    f"{PARTED} create index on app.p (a); create index on only app.p (a)": ("invalid-index",),
    f"{PARTED} create index on only app.p (a); create index on app.p (a)": ("invalid-index",),
    "create table app.n (a bigint primary key, b int, unique (b) deferrable);"
    "create unique index on app.n (b)": (),
    "create unique index k on app.t (b); alter table app.t add unique using index k": (),
    f"{PARTED} create index on app.p (a); create index on app.p (a)": ("duplicate-index",),
    f"{PARTED} create index on only app.p (a)": ("invalid-index",),
    "create materialized view app.m as select a from app.t;"
    "create unique index on app.m (a) where a > 0; create unique index on app.m ((a + 0))": (
        "matview-without-unique-index",
    ),
    "create materialized view app.m as select a from app.t; create index on app.m (a)": (
        "matview-without-unique-index",
    ),
    # What was left unfinished.
    "create table app.q (a bigint primary key); create table app.q_1 () inherits (app.q);"
    "alter table app.q add check (a > 0) not valid": (
        "no-primary-key",
        "unvalidated-constraint",
    ),
    "create domain app.d as bigint;"
    "alter domain app.d add constraint c check (value > 0) not valid": ("unvalidated-constraint",),
    f"create index on app.t (u_id); {KEY} alter table app.t disable trigger all": (
        "disabled-trigger",
    ),
    f"{PARTED} create function app.f() returns trigger language plpgsql as"
    " 'begin return new; end'; create trigger g before update on app.p for each row"
    " execute function app.f(); alter table app.p disable trigger g": ("disabled-trigger",),
    "create unlogged table app.n (id bigint generated always as identity primary key)": (
        "unlogged-table",
    ),
    "create publication changes for table app.t": (),
    "create table app.n (a bigint not null)\n--\n"
    "create publication changes for table app.n with (publish = 'delete')": (
        "published-without-identity",
    ),
    "create table app.n (a bigint not null);"
    "create publication changes for table app.n with (publish = 'insert')": ("no-primary-key",),
    "create table app.n (a bigint not null)\n--\ncreate publication changes for all tables": (
        "published-without-identity",
    ),
    "create table app.n (a bigint unique not null);"
    "alter table app.n replica identity using index n_a_key\n--\n"
    "create publication changes for table app.n": (),
    # Row security.
    "create policy p on app.t using (true)": ("policy-without-rls",),
    f"{LOCKED} create policy p on app.t for select using (true)": (),
    f"{LOCKED} create policy p on app.t for insert with check (true)": ("policy-always-true",),
    f"{LOCKED} create policy p on app.t for update using (a = 1) with check (true)": (
        "policy-always-true",
    ),
    f"{LOCKED} create policy p on app.t using (true);"
    "create policy r on app.t as restrictive using (a = 1)": (),
    f"{LOCKED} create policy p on app.t using (true);"
    "create policy r on app.t as restrictive for select using (a = 1)": ("policy-always-true",),
    f"{LOCKED} create policy p on app.t using (name = (select current_setting('TimeZone')))": (),
    f"{LOCKED} create policy p on app.t"
    " using (u_id = (select nullif(current_setting('app.u', true), ''))::bigint)": (),
    f"{LOCKED} create policy p on app.t"
    " using (u_id in (select id from app.u where name = current_setting('app.u', true)))": (),
    f"{LOCKED} create policy p on app.t for insert"
    " with check (name = current_setting('app.u', true))": (),
    "create function app.me() returns text language sql stable return 'me';"
    f"{LOCKED} create policy p on app.t using (name = app.me())": ("policy-setting-per-row",),
    "create function app.me() returns text language sql stable return 'me';"
    f"{LOCKED} create policy p on app.t using (name = (select app.me()))": (),
    "create function app.me() returns text language sql immutable return 'me';"
    f"{LOCKED} create policy p on app.t using (name = app.me())": (),
    "create function app.is(text) returns boolean language sql stable return true;"
    f"{LOCKED} create policy p on app.t using (app.is(name))": (),
    f"create view app.v as select a from app.t\n--\n{OWNED}": ("view-bypasses-rls",),
    f"{OWNED} create view app.v with (security_invoker) as select a from app.t;"
    "create view app.w with (security_invoker = on) as select a from app.v": (),
    f"{OWNED} create view app.v with (security_invoker) as select a from app.t;"
    "create view app.w as select a from app.v": ("view-bypasses-rls",),
    f"{OWNED} create view app.v as select id from app.u;"
    "create view app.w with (security_invoker) as select a from app.t": (),
    f"{PARTED} {POLICED} grant select on app.p to pg_monitor": (),
    f"{PARTED} grant select on app.p_1 to pg_monitor": (),
    f"{PARTED} {POLICED} alter table app.p_1 enable row level security;"
    "create policy own on app.p_1 using (a = 1); grant select on app.p_1 to pg_monitor": (),
    # Rights.
    f"{OPEN} create function app.f() returns trigger security definer set search_path = ''"
    " language plpgsql as 'begin return new; end'": (),
    f"create function app.f() returns int {DEFINER} as 'select 1'": (),
    f"create function app.f() returns int {DEFINER} as 'select 1'\n--\n{OPEN}": (
        "security-definer-public",
    ),
    f"grant create on schema app to pg_monitor; create function app.f() returns int {DEFINER}"
    " as 'select 1'": (),
    "create function app.f() returns int language sql security definer"
    " begin atomic select 1; end": (),
    "grant select (a) on app.t to public": ("granted-to-public",),
    "grant create on schema app to public": ("granted-to-public",),
    "grant usage on schema app to public": (),
    "create sequence app.s; grant usage on sequence app.s to public": ("granted-to-public",),
    "alter default privileges in schema app grant select on tables to public": (
        "granted-to-public",
    ),
    "alter default privileges in schema app grant select on tables to pg_monitor": (),
    # Names.
    'create schema "A b"; create table "A b"."c.D""e" (i bigint)': ("no-primary-key",),
}


def test_what_looks_alike_is_told_apart(database: Connection) -> None:
    wrong = []
    for text, rules in CASES.items():
        before, line, behind = text.partition("\n--\n")
        with database.transaction(force_rollback=True):
            found = rules_of(database, behind, before) if line else rules_of(database, text)
        if tuple(sorted(found)) != rules:
            wrong.append(f"{text}\n    found {found}, not {list(rules)}")
    print(f"precision: {len(CASES) - len(wrong)} of {len(CASES)}")
    assert not wrong, "\n".join(wrong)


def test_an_index_whose_build_failed_is_an_error(target: Target) -> None:
    with pinned(target) as connection:
        connection.execute(EXAMPLE_SCHEMA.encode())
        connection.execute(b"update app.t set b = 0")
        before = catalogue_facts(connection)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(b"create unique index concurrently t_b on app.t (b)")
        [fact] = new_facts(before, catalogue_facts(connection))
    assert (fact.rule, fact.object, fact.severity) == ("invalid-index", "app.t_b", Severity.ERROR)


def test_what_is_not_enforced_is_not_waiting_to_be_validated(database: Connection) -> None:
    if database.info.server_version < 18_00_00:
        pytest.skip("NOT ENFORCED came with 18")
    assert rules_of(database, "alter table app.t add check (a > 0) not enforced") == []


def test_what_one_role_may_write_is_only_information(database: Connection) -> None:
    text = f"{LOCKED} create policy p on app.t for insert to pg_monitor with check (true)"
    [fact] = made_by(database, text)
    assert (fact.rule, fact.severity) == ("policy-always-true", Severity.INFO)


def test_only_the_schemas_that_are_asked_for_are_looked_at(database: Connection) -> None:
    run(
        database,
        "create schema other; create domain other.d as int; create table other.n (i other.d);"
        "alter domain other.d add check (value > 0) not valid",
    )
    assert catalogue_facts(database, ("app",)) == frozenset()
    assert {fact.object for fact in catalogue_facts(database)} == {"other.n", "d_check on other.d"}
    assert catalogue_facts(database, ()) == frozenset()


# --- what is new ------------------------------------------------------------------------------

OLD = "create table app.n (a bigint); create index n_1 on app.n (a); create index n_2 on app.n (a)"


@pytest.mark.parametrize(
    "text",
    [
        "select 1",
        "alter table app.n rename to m",
        "alter table app.n set schema public",
        "alter index app.n_2 rename to n_3",
        "alter table app.n alter a type text",
        "drop index app.n_2; create index n_2 on app.n (a)",
        "drop table app.n",
    ],
)
def test_what_was_there_before_is_not_new(database: Connection, text: str) -> None:
    assert rules_of(database, text, setup=OLD) == []


def test_an_old_fault_beside_a_new_one_stays_old(database: Connection) -> None:
    [fact] = made_by(database, "create index n_3 on app.n (a)", setup=OLD)
    assert (fact.rule, fact.object, fact.relation) == ("duplicate-index", "app.n_3", "app.n")
    assert fact.names == ("app.n_3", "app.n_1", "app.n")


def test_a_fact_names_its_object_as_an_event_trigger_does(database: Connection) -> None:
    run(
        database,
        """
        create table app.seen (object text, primary key (object));
        create function app.see() returns event_trigger language plpgsql as $$ begin
            insert into app.seen select distinct object_identity
              from pg_catalog.pg_event_trigger_ddl_commands() on conflict do nothing;
        end $$;
        create event trigger see on ddl_command_end execute function app.see();
        """,
    )
    facts = made_by(
        database,
        """
        create table app."N" (a bigint);
        create policy "P" on app."N" using (true);
        create function app.f(integer) returns int language sql security definer as 'select 1';
        create index "N_1" on app."N" (a); create index "N_2" on app."N" (a);
        """,
    )
    seen = {object_ for (object_,) in database.execute("select object from app.seen").fetchall()}
    assert {fact.object for fact in facts} == {
        'app."N"',
        '"P" on app."N"',
        "app.f(integer)",
        'app."N_2"',
    }
    assert {fact.object for fact in facts} <= seen


def test_a_finding_stands_where_its_statement_does(database: Connection) -> None:
    text = "create view app.v as select a from app.t"
    facts = made_by(database, f"{OWNED} {text}; create index on app.t (a)")
    lines = {"app.v": 7, "app.i": 3}

    def place_of(fact: Fact) -> Span:
        line = next(lines[name] for name in fact.names if name in lines)
        return Span(file="1.sql", line=line, column=2, end=(line, 9), source="create …")

    findings = new_findings((), facts, place_of, version=18)
    assert [(f.line, f.rule, f.relation) for f in findings] == [
        (3, "duplicate-index", "app.t"),
        (7, "view-bypasses-rls", "app.v"),
    ]
    bypass = findings[1]
    assert bypass.message == "view app.v reads app.t with the rights of its owner"
    assert (bypass.layer, bypass.severity) == (Layer.CATALOGUE, Severity.WARNING)
    assert (bypass.file, bypass.column, bypass.end_line, bypass.end_column) == ("1.sql", 2, 7, 9)
    assert (bypass.hint, bypass.page) == (
        "WITH (security_invoker = true)",
        "docs/rules/view-bypasses-rls.md",
    )
    assert new_findings(facts, facts, place_of) == ()


# --- who asks, and what is left ---------------------------------------------------------------


def test_a_role_without_rights_sees_the_same(database: Connection) -> None:
    run(database, f"{OLD}; {OWNED} create view app.v as select a from app.t")
    everything = catalogue_facts(database)
    assert len(everything) == 3
    run(database, "create role headwater_test_nobody; set role headwater_test_nobody")
    assert catalogue_facts(database) == everything


def test_nothing_in_the_way_changes_what_is_read(database: Connection) -> None:
    run(database, OLD)
    expected = {(fact.rule, fact.object, fact.words) for fact in catalogue_facts(database)}
    run(
        database,
        """
        set search_path = app, public; set quote_all_identifiers = on;
        create temp table pg_class (oid oid);
        create table app.pg_constraint (id bigint primary key);
        create function app.format(text, name, name) returns text language sql return 'x';
        """,
    )
    assert {(f.rule, f.object, f.words) for f in catalogue_facts(database)} == expected


def test_asking_leaves_no_setting_and_no_lock(database: Connection) -> None:
    run(database, "set search_path = app")
    held = "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'relation'"
    before = database.execute(held.encode()).fetchall()
    catalogue_facts(database)
    assert database.execute("show search_path").fetchone() == ("app",)
    assert database.execute(held.encode()).fetchall() == before


def test_a_file_that_throws_away_what_was_prepared_changes_no_answer(database: Connection) -> None:
    run(database, OLD)
    before = catalogue_facts(database)
    run(database, "deallocate all")
    assert catalogue_facts(database) == before
    kept = database.execute("select generic_plans from pg_prepared_statements").fetchall()
    assert kept == [(1,)]
    assert catalogue_facts(database) == before
    kept = database.execute("select generic_plans from pg_prepared_statements").fetchall()
    assert kept == [(2,)]
