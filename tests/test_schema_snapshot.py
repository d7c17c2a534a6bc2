"""What a snapshot is independent of, what it refuses, and that it reads every catalogue."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from headwater.errors import TargetError
from headwater.report.changes import describe
from headwater.schema import snapshot as snapshot_module
from headwater.schema.column import Column
from headwater.schema.diff import compare, unmanaged_schemas
from headwater.schema.identities import PLACES
from headwater.schema.left_out import CATALOGS, COLUMNS, ROWS
from headwater.schema.queries import by_catalog, is_read
from headwater.schema.rendering import rendered
from headwater.schema.reparse import reparsed
from headwater.schema.snapshot import Snapshot, catalog_columns, read_snapshot
from headwater.schema.words import CODES, LABELS

FreshDatabase = Callable[..., AbstractContextManager[str]]
Connection = psycopg.Connection[Any]

SCHEMA = (
    "create schema kb",
    "create type kb.mood as enum ('sad', 'happy')",
    """create function kb.touch() returns trigger language plpgsql set search_path = ''
       as $$begin return new; end$$""",
    """create table kb.docs (
         id int primary key,
         at timestamptz default '2024-05-06 07:08:09+00',
         day date default '2024-05-06',
         took interval default '1 day 02:03:04',
         bytes bytea default '\\x00ff',
         path text default E'a\\\\b',
         ratio float8 default 0.1::float8,
         mood kb.mood default 'sad',
         "Mixed Case" int check ("Mixed Case" > 0)
       )""",
    "create table kb.notes (id serial primary key, doc_id int references kb.docs (id))",
    "create index notes_idx on kb.notes (doc_id) where doc_id > 3",
    "create trigger t before update on kb.docs for each row execute function kb.touch()",
    "create view kb.v as select id, at from kb.docs where mood = 'sad'",
    "create policy p on kb.docs using (mood = 'happy' and at > '2024-01-01 00:00:00+00')",
    "comment on table kb.docs is 'documents'",
)


def connected(url: str) -> Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def snapshot(connection: Connection) -> Snapshot:
    return read_snapshot(connection, history_table="public.schema_migrations")


def drift(expected: Snapshot, actual: Snapshot) -> list[str]:
    return [describe(each) for each in compare(expected, actual, schemas=["kb"])]


def build(connection: Connection, *statements: str) -> None:
    for statement in statements or SCHEMA:
        connection.execute(statement.encode())


@pytest.fixture(autouse=True)
def no_queries_of_another_test() -> Generator[None]:
    yield
    snapshot_module._plan.cache_clear()


@pytest.fixture(scope="module")
def url(fresh_database: FreshDatabase) -> Generator[str]:
    with fresh_database() as url:
        with connected(url) as connection:
            build(connection)
        yield url


@pytest.fixture
def connection(url: str) -> Generator[Connection]:
    with connected(url) as connection:
        yield connection


@pytest.fixture(scope="module")
def built(url: str) -> Snapshot:
    with connected(url) as connection:
        return snapshot(connection)


# --- what an object looks like ----------------------------------------------------------------


def test_an_object_has_an_identity_a_place_and_attributes_for_people(built: Snapshot) -> None:
    column = built.objects["column kb.docs.mood"]
    assert column.kind == "column"
    assert column.schema == "kb"
    assert column.parent == "table kb.docs"
    assert column.attributes["type"] == "kb.mood"
    assert column.attributes["default"] == "'sad'::kb.mood"
    assert column.attributes["storage"] == "plain"


def test_the_owner_of_the_database_has_no_name(built: Snapshot) -> None:
    assert built.objects["table kb.docs"].attributes["owner"] == "<owner>"


def test_every_object_of_the_schema_is_there(built: Snapshot) -> None:
    assert {
        "schema kb",
        "type kb.mood",
        "value 'sad' of type kb.mood",
        "function kb.touch()",
        "table kb.docs",
        'column kb.docs."Mixed Case"',
        "constraint docs_pkey on kb.docs",
        "index kb.docs_pkey",
        "index kb.notes_idx",
        "sequence kb.notes_id_seq",
        "constraint notes_doc_id_fkey on kb.notes",
        "trigger t on kb.docs",
        "view kb.v",
        "policy p on kb.docs",
        "extension plpgsql",
    } <= set(built.objects)


def test_a_sequence_is_a_part_of_the_column_that_owns_it(built: Snapshot) -> None:
    assert built.objects["sequence kb.notes_id_seq"].parent == "column kb.notes.id"


# --- what it does not depend on ---------------------------------------------------------------

SETTINGS = [
    "search_path = kb",
    "search_path = ''",
    "quote_all_identifiers = on",
    "datestyle = 'German, DMY'",
    "timezone = 'Asia/Tokyo'",
    "intervalstyle = sql_standard",
    "bytea_output = escape",
    "standard_conforming_strings = off",
    "extra_float_digits = -10",
    "client_encoding = latin1",
    "default_transaction_isolation = serializable",
    "default_transaction_read_only = on",
    "enable_hashjoin = off",
    "enable_indexscan = off",
    "row_security = off",
]


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_the_session_do_not_show(setting: str, url: str, built: Snapshot) -> None:
    with connected(url) as connection:
        connection.execute(f"set {setting}".encode())
        assert snapshot(connection) == built


def test_what_other_databases_hold_does_not_show(
    url: str, built: Snapshot, fresh_database: FreshDatabase
) -> None:
    with fresh_database() as other, connected(other) as elsewhere:
        elsewhere.execute(
            "create subscription elsewhere connection 'host=nowhere' publication p "
            "with (connect = false)"
        )
        try:
            with connected(url) as connection:
                assert snapshot(connection) == built
        finally:
            elsewhere.execute("alter subscription elsewhere set (slot_name = none)")
            elsewhere.execute("drop subscription elsewhere")


def test_settings_of_the_session_stay_as_they_were(connection: Connection) -> None:
    connection.execute("set search_path = kb")
    connection.execute("set timezone = 'Asia/Tokyo'")
    snapshot(connection)
    row = connection.execute(
        "select current_setting('search_path'), current_setting('timezone')"
    ).fetchone()
    assert row == ("kb", "Asia/Tokyo")
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_it_can_be_read_inside_an_open_transaction(connection: Connection, built: Snapshot) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("set local search_path = kb")
        connection.execute("create table kb.more (a int)")
        changed = snapshot(connection)
        assert connection.execute("show search_path").fetchone() == ("kb",)
    assert drift(built, changed) == ["table kb.more: in the database, not in the files"]


def test_creation_order_and_oids_do_not_show(
    fresh_database: FreshDatabase, built: Snapshot
) -> None:
    order = [0, 2, 1, 3, 7, 6, 8, 9, 4, 5]
    with fresh_database() as url, connected(url) as connection:
        build(connection, "create table public.burnt (id serial primary key, body text)")
        build(connection, "drop table public.burnt")
        build(connection, *(SCHEMA[n] for n in order))
        assert drift(built, snapshot(connection)) == []


def test_locale_and_encoding_of_the_database_do_not_show(
    fresh_database: FreshDatabase, url: str, built: Snapshot
) -> None:
    with connected(url) as admin:
        admin.execute("drop database if exists headwater_test_locale")
        admin.execute(
            "create database headwater_test_locale template template0"
            " encoding 'SQL_ASCII' locale 'C'"
        )
        try:
            other = psycopg.conninfo.make_conninfo(url, dbname="headwater_test_locale")
            with connected(other) as connection:
                build(connection)
                assert drift(built, snapshot(connection)) == []
        finally:
            admin.execute("drop database headwater_test_locale with (force)")


def test_another_owner_of_the_database_does_not_show(
    fresh_database: FreshDatabase, built: Snapshot
) -> None:
    with fresh_database() as url, connected(url) as connection:
        connection.execute("create role headwater_test_builder")
        try:
            name = sql.Identifier(connection.info.dbname)
            connection.execute(
                sql.SQL("alter database {} owner to headwater_test_builder").format(name)
            )
            connection.execute("set role headwater_test_builder")
            build(connection)
            connection.execute("reset role")
            assert drift(built, snapshot(connection)) == []
        finally:
            connection.execute("drop schema kb cascade")
            connection.execute(sql.SQL("alter database {} owner to session_user").format(name))
            connection.execute("drop role headwater_test_builder")


def test_a_role_that_may_do_nothing_reads_the_same(connection: Connection, built: Snapshot) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("create role headwater_test_nobody")
        connection.execute("set local role headwater_test_nobody")
        seen = snapshot(connection)
    assert drift(built, seen) == []
    assert drift(seen, built) == []
    assert "pg_user_mapping.umoptions" in seen.unreadable
    assert built.unreadable == frozenset()


# --- scope ------------------------------------------------------------------------------------


def test_bookkeeping_may_have_another_name(fresh_database: FreshDatabase) -> None:
    with fresh_database() as url, connected(url) as connection:
        before = snapshot(connection)
        build(connection, "create schema meta", "create table meta.history (v serial primary key)")
        build(connection, "create table meta.history_steps (v text)", "create table meta.t (a int)")
        after = read_snapshot(connection, history_table="meta.history")
    assert [each.object for each in compare(before, after, schemas=["meta"])] == [
        "schema meta",
        "table meta.t",
    ]


def test_a_public_that_no_file_has_touched_is_not_managed(
    connection: Connection, built: Snapshot
) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("create table public.theirs (a int)")
        connection.execute("grant create on schema public to public")
        actual = snapshot(connection)
    assert drift(built, actual) == []
    assert unmanaged_schemas(built, actual, ["kb"]) == ("public",)
    assert unmanaged_schemas(built, built, ["kb"]) == ()


def test_a_public_that_a_file_has_touched_is_compared(
    connection: Connection, built: Snapshot
) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("revoke usage on schema public from public")
        expected = snapshot(connection)
    assert drift(expected, built) == [
        "schema public: grants (default) -> PUBLIC: USAGE; pg_database_owner: ALL"
    ]


def test_members_of_extensions_are_out_and_the_extension_is_in(
    fresh_database: FreshDatabase,
) -> None:
    with fresh_database() as url, connected(url) as connection:
        before = snapshot(connection)
        build(connection, "create extension hstore schema public")
        after = snapshot(connection)
    assert [each.object for each in compare(before, after, schemas=["public"])] == [
        "extension hstore"
    ]


# --- complete by construction -----------------------------------------------------------------


def test_what_is_left_out_exists_and_has_a_reason(connection: Connection) -> None:
    """A typing mistake in the list would leave nothing out, and say that it does."""
    here = {column.path for column in catalog_columns(connection)}
    catalogs = {path.partition(".")[0] for path in here}
    gone_or_new = {
        "pg_attribute.attcacheoff",  # up to 17
        "pg_class.relallfrozen",  # since 18
        "pg_database.dathasloginevt",  # since 17
        "pg_database.daticulocale",  # up to 16
        "pg_database.daticurules",  # since 16
        "pg_database.datlocale",  # since 17
    }
    assert set(CATALOGS) <= catalogs
    assert set(ROWS) <= catalogs
    assert set(COLUMNS) - here <= gone_or_new
    assert all({**CATALOGS, **COLUMNS}.values())


def test_every_column_of_every_catalogue_is_read_or_left_out(connection: Connection) -> None:
    for catalog, columns in by_catalog(catalog_columns(connection)).items():
        if is_read(catalog, columns):
            named = PLACES[catalog].covers if catalog in PLACES else ()
            for column in columns:
                if column.name not in ("oid", *named) and column.path not in COLUMNS:
                    rendered(column, None, None)


def test_nothing_is_left_out_twice_or_called_by_a_name_that_nobody_sees() -> None:
    told = {f"{catalog}.{column}" for catalog, place in PLACES.items() for column in place.covers}
    assert not COLUMNS.keys() & told
    assert not {*LABELS, *CODES} & ({*COLUMNS} | told)


def a_column(**changes: Any) -> Column:
    column = Column(
        catalog="pg_new",
        shared=False,
        name="newthing",
        type="text",
        refers_to=None,
        column_of=None,
        key=False,
        readable=True,
        public=True,
    )
    return column._replace(**changes)


@pytest.mark.parametrize(
    "column",
    [
        a_column(type="tsquery"),
        a_column(type="oid"),
        a_column(type="int2vector"),
        a_column(type="oid[]"),
        a_column(type="text", refers_to="pg_class"),
        a_column(type="integer", column_of="relid"),
    ],
    ids=lambda column: column.type,
)
def test_a_column_without_a_rendering_is_refused_by_name(column: Column) -> None:
    with pytest.raises(TargetError, match=r"pg_new\.newthing"):
        rendered(column, None, None)


def test_a_catalogue_that_nobody_has_heard_of_is_read(
    connection: Connection, built: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgetting how a catalogue is named is what a new one looks like."""
    for catalog in ("pg_policy", "pg_sequence"):
        monkeypatch.delitem(PLACES, catalog)
    snapshot_module._plan.cache_clear()
    with connection.transaction(force_rollback=True):
        before = snapshot(connection)
        connection.execute("alter policy p on kb.docs using (true)")
        connection.execute("alter sequence kb.notes_id_seq increment 7")
        after = snapshot(connection)
    sequence, policy = drift(before, after)
    assert sequence == "pg_sequence kb.notes_id_seq: increment 1 -> 7"
    assert policy.startswith("policy p on kb.docs: using ((mood = 'happy'::kb.mood)")
    assert policy.endswith(" -> true")


# --- expressions ------------------------------------------------------------------------------


def test_an_expression_that_was_dumped_and_read_back_is_the_same(
    fresh_database: FreshDatabase,
) -> None:
    table = ("create schema kb", "create table kb.t (s varchar(9), n int)")
    check = "alter table kb.t add constraint c check ({})"
    index = "create index i on kb.t (n) where {}"
    written = "s in ('a', 'b')"
    reloaded = (
        "((s)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text]))"
    )
    with (
        fresh_database() as one,
        fresh_database() as two,
        connected(one) as files,
        connected(two) as target,
    ):
        build(files, *table, check.format(written), index.format(written))
        build(files, "alter table kb.t add constraint d check (n > 1)")
        build(target, *table, check.format(reloaded), index.format(reloaded))
        build(target, "alter table kb.t add constraint d check (n > 2)")
        expected = snapshot(files)
        changes = compare(expected, snapshot(target), schemas=["kb"])
        assert [each.object for each in changes] == [
            "constraint c on kb.t",
            "constraint d on kb.t",
            "index kb.i",
        ]
        assert [each.object for each in reparsed(files, changes, expected)] == [
            "constraint d on kb.t"
        ]
        assert snapshot(files) == expected


# --- what cannot be told apart ----------------------------------------------------------------


def test_two_objects_under_one_identity_are_refused(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_alike = replace(PLACES["pg_policy"], name=sql.SQL("'x'"))
    monkeypatch.setitem(PLACES, "pg_policy", everything_alike)
    snapshot_module._plan.cache_clear()
    with connection.transaction(force_rollback=True):
        connection.execute("create policy q on kb.docs using (true)")
        with pytest.raises(TargetError, match="pg_policy") as error:
            snapshot(connection)
    assert error.value.detail == "policy x"
