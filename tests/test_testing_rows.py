"""Rows for tests: what is written, what comes back, and what is told of a slip."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, NotNullViolation
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from headwater.errors import HeadwaterError
from headwater.testing.rows import Row, insert

Connection = psycopg.Connection[Any]
FreshDatabase = Callable[..., AbstractContextManager[str]]

SCHEMA = """
create extension vector;
create schema app;
create domain app.document as jsonb;
create domain app.signed_document as app.document;
create type app.mood as enum ('calm', 'wild');
create table app.rivers (
    id uuid primary key default gen_random_uuid(),
    name text default 'Aare',
    facts jsonb, plain json, checked app.document, signed app.signed_document, many jsonb[],
    names text[], numbers int[], ids uuid[], moods app.mood[], course vector(3),
    loud text generated always as (upper(name)) stored
);
create table app."Odd Table" ("Odd ""Column%" int, keys int);
create table app.refused (name text not null);
create table app.swallowed (name text);
"""


@pytest.fixture(scope="module")
def url(fresh_database: FreshDatabase) -> Generator[str]:
    with fresh_database() as url:
        with psycopg.connect(url) as owner:
            owner.execute(SCHEMA.encode())
        yield url


@pytest.fixture
def connection(url: str) -> Generator[Connection]:
    with psycopg.connect(url) as connection:
        yield connection
        connection.rollback()


def test_a_row_comes_back_whole(connection: Connection) -> None:
    """With what the database made of it."""
    river = insert(connection, "app.rivers", name="Limmat")
    assert isinstance(river.id, UUID)
    assert (river.name, river.loud, river.facts) == ("Limmat", "LIMMAT", None)
    assert insert(connection, "app.rivers").name == "Aare"


@pytest.mark.parametrize(
    ("column", "given", "kept"),
    [
        ("facts", {"a": [1, None]}, {"a": [1, None]}),
        ("facts", [], []),
        ("facts", 3, 3),
        ("facts", True, True),
        ("facts", '{"a": 1}', {"a": 1}),
        ("facts", Jsonb(None), None),
        ("facts", None, None),
        ("plain", {"a": 1}, {"a": 1}),
        ("signed", ["x"], ["x"]),
        ("checked", ["x"], ["x"]),
        ("many", [{"a": 1}, [2], None], [{"a": 1}, [2], None]),
        ("names", ["x", 'y"'], ["x", 'y"']),
        ("names", [], []),
        ("names", "{x}", ["x"]),
        ("numbers", (1, 2), [1, 2]),
        ("ids", [UUID(int=1)], [UUID(int=1)]),
        ("moods", ["wild"], ["wild"]),
        ("course", [1.5, 2, 3], "[1.5,2,3]"),
    ],
)
def test_a_value_is_written_as_its_column_wants_it(
    connection: Connection, column: str, given: object, kept: object
) -> None:
    row = insert(connection, "app.rivers", **{column: given})
    # (An array of a type of one's own comes as text, where psycopg was not told of the type.)
    assert row[column] == kept or (column == "moods" and row[column] == "{wild}")


def test_odd_names_are_names(connection: Connection) -> None:
    row = insert(connection, "app.Odd Table", **{'Odd "Column%': 1, "keys": 2})
    assert dict(row) == {'Odd "Column%': 1, "keys": 2}
    assert row["keys"] == 2


def test_a_table_is_found_by_the_search_path_too(connection: Connection) -> None:
    connection.execute("set search_path = app")
    assert insert(connection, "rivers", name="Reuss").name == "Reuss"


def test_a_row_is_the_same_whatever_rows_the_connection_gives(connection: Connection) -> None:
    connection.row_factory = dict_row
    assert insert(connection, "app.rivers").name == "Aare"


def test_what_is_not_there_is_told_with_the_nearest(connection: Connection) -> None:
    with pytest.raises(HeadwaterError, match=r"app\.rivers has no column nam; the nearest is name"):
        insert(connection, "app.rivers", nam="x")
    with pytest.raises(
        HeadwaterError, match=r"(?m)no table app\.river; the nearest is app\.rivers$"
    ):
        insert(connection, "app.river")
    with pytest.raises(HeadwaterError, match=r"(?m)there is no table zzz$"):
        insert(connection, "zzz")
    assert insert(connection, "app.rivers").id, "nothing was tried: the transaction goes on"


def test_what_the_server_refuses_is_the_drivers_error(connection: Connection) -> None:
    with pytest.raises(NotNullViolation):
        insert(connection, "app.refused")


def test_a_row_that_did_not_arrive_is_an_error(connection: Connection) -> None:
    connection.execute(
        "create function app.swallow() returns trigger language plpgsql "
        "as 'begin return null; end'; create trigger swallow before insert on app.swallowed "
        "for each row execute function app.swallow()"
    )
    with pytest.raises(HeadwaterError, match=r"app\.swallowed: a trigger or a rule") as caught:
        insert(connection, "app.swallowed", name="x")
    assert caught.value.__notes__ == [caught.value.hint]
    assert "returns NULL" in caught.value.hint


def test_a_role_gets_the_columns_that_it_may_read(connection: Connection) -> None:
    connection.execute(
        "grant usage on schema app to pg_monitor; grant insert on app.rivers, app.refused "
        "to pg_monitor; grant select (id, name) on app.rivers to pg_monitor; "
        "set local role pg_monitor"
    )
    assert [*insert(connection, "app.rivers", names=["x"])] == ["id", "name"]
    assert dict(insert(connection, "app.refused", name="given")) == {"name": "given"}
    with pytest.raises(InsufficientPrivilege):
        insert(connection, "app.swallowed")


HIDDEN = """
create table app.letters (body text);
alter table app.letters enable row level security;
create policy anybody_writes on app.letters for insert with check (body <> 'no');
create policy nobody_reads on app.letters for select using (false);
grant usage on schema app to pg_monitor;
grant select, insert on app.letters to pg_monitor;
"""


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_row_that_is_taken_and_not_shown_is_not_refused(
    connection: Connection, autocommit: bool
) -> None:
    """A test that expects row security to refuse it must not pass."""
    connection.execute(HIDDEN)
    connection.commit()
    connection.autocommit = autocommit
    connection.execute("set role pg_monitor")
    try:
        with pytest.raises(HeadwaterError, match=r"app\.letters takes this row, but policies"):
            insert(connection, "app.letters", body="yes")
        with pytest.raises(InsufficientPrivilege):
            insert(connection, "app.letters", body="no")
    finally:
        connection.rollback()
        connection.autocommit = True
        connection.execute("reset role")
        found = connection.execute("select count(*) from app.letters").fetchone()
        connection.execute("drop table app.letters")
        connection.autocommit = False
    assert found == (0,)


def test_a_row_is_a_mapping_with_attributes() -> None:
    row = Row("app.rivers", {"id": 1, "name": "Aare"})
    assert (row.id, row["name"], len(row), [*row]) == (1, "Aare", 2, ["id", "name"])
    assert row == {"id": 1, "name": "Aare"}
    assert {**row} == dict(row)
    with pytest.raises(AttributeError, match=r"app\.rivers has no column nme; the nearest is name"):
        _ = row.nme
    with pytest.raises(KeyError):
        row["nme"]


def test_a_row_can_be_copied_and_pickled() -> None:
    row = Row("app.rivers", {"id": 1})
    assert copy.deepcopy(row) == pickle.loads(pickle.dumps(row)) == row


def test_a_row_shows_its_table_and_the_start_of_long_values() -> None:
    identity = uuid4()
    shown = repr(Row("app.rivers", {"id": identity, "name": "x" * 1000}))
    assert shown.startswith(f"app.rivers(id={identity!r}, name='xxx")
    assert len(shown) < 200
