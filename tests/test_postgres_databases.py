"""Whole databases: scratch ones leave nothing behind, and only disposable ones may be destroyed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from headwater.errors import TargetError, UnsafeTarget
from headwater.model import Target
from headwater.postgres.connect import connect, with_database
from headwater.postgres.databases import (
    MARK,
    comment_on,
    create_database,
    dispose,
    drop_database,
    exists,
    is_empty,
    is_marked,
    locale_of,
    mark_disposable,
    require_disposable,
    scratch_database,
)
from headwater.settings import Settings
from tests.support import migrated, query, session, tables, value


def comment(target: Target) -> str | None:
    found: str | None = value(
        target,
        "select shobj_description(oid, 'pg_database') from pg_database "
        "where datname = current_database()",
    )
    return found


def write_comment(target: Target, text: str) -> None:
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        connection.execute(
            sql.SQL("comment on database {} is {}").format(
                sql.Identifier(target.database), sql.Literal(text or None)
            )
        )


def assert_gone(server: Target, name: str) -> None:
    with connect(server, purpose="test") as connection:
        assert not exists(connection, name)


class Failed(Exception):
    """What the body of a test raises; it holds the name of the scratch database."""


def failing(server: Target, before: Callable[[Target], None]) -> Failed:
    """Raise inside a scratch database, after something else was done to it."""

    def body() -> None:
        with scratch_database(server) as scratch:
            before(scratch)
            raise Failed(scratch.database)

    with pytest.raises(Failed) as caught:
        body()
    return caught.value


def protect(server: Target, name: str) -> None:
    """Make a database one that cannot be dropped."""
    query(server, f"alter database {name} is_template true")


def unprotect_and_drop(server: Target, name: str) -> None:
    query(server, f"alter database {name} is_template false")
    query(server, f"drop database {name}")


# --- scratch ----------------------------------------------------------------------------------


def test_a_scratch_database_is_empty_marked_and_dropped(server: Target) -> None:
    with scratch_database(server) as scratch:
        assert scratch.database.startswith("headwater_scratch_")
        with connect(scratch, purpose="test") as connection:
            assert is_empty(connection)
            assert is_marked(connection)
        lines = (comment(scratch) or "").splitlines()
        assert lines[0] == MARK
        assert lines[1].startswith("headwater: scratch of process ")
    assert_gone(server, scratch.database)


def test_two_scratch_databases_have_two_names(server: Target) -> None:
    with scratch_database(server) as one, scratch_database(server) as two:
        assert one.database != two.database


def test_it_is_dropped_when_the_body_raises(server: Target) -> None:
    assert_gone(server, failing(server, lambda _: None).args[0])


def end_its_session(server: Target, scratch: Target) -> None:
    """End the session that made the scratch database, as a network would."""
    [(pid,)] = query(
        server,
        "select pid from pg_stat_activity where application_name = 'headwater scratch' "
        f"and query like '%{scratch.database}%'",
    )
    query(server, f"select pg_terminate_backend({pid})")


def test_it_is_dropped_when_the_connection_was_lost_meanwhile(server: Target) -> None:
    with scratch_database(server) as scratch:
        end_its_session(server, scratch)
    assert_gone(server, scratch.database)


def test_it_is_dropped_when_the_connection_was_lost_and_the_body_raises(server: Target) -> None:
    first = failing(server, lambda scratch: end_its_session(server, scratch))
    assert_gone(server, first.args[0])


def test_it_is_dropped_with_sessions_that_somebody_left_in_it(server: Target) -> None:
    with scratch_database(server) as scratch:
        left = psycopg.connect(scratch.conninfo)
        left.execute("select 1")
    assert_gone(server, scratch.database)
    left.close()


def test_the_first_error_is_told_when_it_cannot_be_dropped(server: Target) -> None:
    first = failing(server, lambda scratch: protect(server, scratch.database))
    unprotect_and_drop(server, first.args[0])
    [note] = first.__notes__
    assert note.startswith(f"{first.args[0]} was left behind: dropping the database")


def test_a_drop_that_fails_is_told_when_nothing_else_went_wrong(server: Target) -> None:
    scratch = scratch_database(server)
    name = scratch.__enter__().database
    protect(server, name)
    with pytest.raises(TargetError, match="dropping the database"):
        scratch.__exit__(None, None, None)
    unprotect_and_drop(server, name)


LOCALE = """
select pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype, {}
  from pg_database where datname = current_database()
"""


@pytest.mark.parametrize(
    "options",
    [
        "encoding 'SQL_ASCII' locale_provider libc lc_collate 'C' lc_ctype 'C'",
        "encoding 'LATIN1' locale_provider libc lc_collate 'C' lc_ctype 'POSIX'",
        "encoding 'UTF8' locale_provider icu icu_locale 'es-ES' lc_collate 'C' lc_ctype 'C'",
        "encoding 'UTF8' locale_provider builtin builtin_locale 'C' lc_collate 'C' lc_ctype 'C'",
        "encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8' locale 'C'",
    ],
)
def test_it_has_the_encoding_and_locale_of_another_database(
    server: Target, target: Target, options: str
) -> None:
    like = replace(target, database="", conninfo="")
    with connect(server, purpose="test") as admin:
        column = "datlocale" if admin.info.server_version >= 17_00_00 else "daticulocale"
        if "builtin" in options and admin.info.server_version < 17_00_00:
            pytest.skip("the builtin provider came with 17")
        name = f"{target.database}_like"
        try:
            admin.execute(f"create database {name} template template0 {options}".encode())
        except psycopg.errors.FeatureNotSupported as error:
            pytest.skip(str(error))  # the embedded server is built without ICU
        try:
            like = replace(
                target,
                database=name,
                conninfo=psycopg.conninfo.make_conninfo(target.conninfo, dbname=name),
            )
            with (
                connect(like, purpose="test") as connection,
                scratch_database(server, locale=locale_of(connection)) as scratch,
            ):
                assert query(scratch, LOCALE.format(column)) == query(like, LOCALE.format(column))
        finally:
            drop_database(admin, name)


def test_a_role_that_may_make_none_is_told_so(server: Target, target: Target) -> None:
    role = f"small_{target.database}"
    query(server, f"create role {role} login password 'x'")
    try:
        small = replace(
            server,
            user=role,
            conninfo=psycopg.conninfo.make_conninfo(server.conninfo, user=role, password="x"),
        )
        with pytest.raises(TargetError, match="the role lacks a right") as caught:
            scratch_database(small).__enter__()
        assert "permission denied to create database" in caught.value.detail
        assert caught.value.exit_code == 2
    finally:
        query(server, f"drop role {role}")


@pytest.mark.parametrize("name", ['we"ird', "it's", "Größe", "UPPER", "select", "a b"])
def test_any_name_is_made_and_dropped(server: Target, target: Target, name: str) -> None:
    name = f"{name}_{target.database}"
    with connect(server, purpose="test") as connection:
        create_database(connection, name, note="a note")
        try:
            assert exists(connection, name)
            with connect(with_database(server, name, "test"), purpose="test") as inside:
                assert comment_on(inside) == f"{MARK}\na note"
        finally:
            drop_database(connection, name)
        assert not exists(connection, name)
        drop_database(connection, name)


# --- disposable -------------------------------------------------------------------------------

OBJECTS = {
    "table": "create table x ()",
    "view": "create view x as select 1",
    "materialized view": "create materialized view x as select 1",
    "sequence": "create sequence x",
    "function": "create function x() returns int language sql as 'select 1'",
    "procedure": "create procedure x() language sql as ''",
    "aggregate": "create aggregate x(int) (sfunc = int4pl, stype = int)",
    "enum": "create type x as enum ()",
    "composite type": "create type x as (a int)",
    "range": "create type x as range (subtype = int)",
    "domain": "create domain x as int",
    "operator": "create operator === (leftarg = int, rightarg = int, function = int4eq)",
    "operator family": "create operator family x using btree",
    "schema": "create schema x",
    "publication": "create publication x",
    "foreign data wrapper": "create foreign data wrapper x",
    "collation": "create collation x (provider = libc, locale = 'C')",
    "conversion": "create conversion x for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8",
    "text search configuration": "create text search configuration x (copy = simple)",
    "text search dictionary": "create text search dictionary x (template = simple)",
    "cast": "create cast (point as text) with inout",
    "language": "create language x handler plpgsql_call_handler",
    "default privileges": "alter default privileges grant select on tables to public",
    "large object": "select lo_create(0)",
}


def test_every_kind_of_object_makes_a_database_not_empty(target: Target) -> None:
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        assert is_empty(connection)
        overlooked = []
        for kind, statement in OBJECTS.items():
            connection.execute("begin")
            connection.execute(statement.encode())
            if is_empty(connection):
                overlooked.append(kind)
            connection.execute("rollback")
        assert overlooked == []
        assert is_empty(connection)


def test_extensions_and_what_is_theirs_leave_it_empty(target: Target) -> None:
    for extension in ("pg_trgm", "hstore", "citext", "pg_stat_statements", "btree_gist"):
        query(target, f"create extension {extension}")
    query(target, "create temp table x ()")
    with connect(target, purpose="test") as connection:
        assert is_empty(connection)


def test_a_database_that_is_neither_empty_nor_marked_is_refused(target: Target) -> None:
    write_comment(target, "ours")
    with connect(target, purpose="test") as connection:
        require_disposable(connection, target)
        connection.execute("create table t ()")
        with pytest.raises(UnsafeTarget) as caught:
            require_disposable(connection, target)
        assert caught.value.hint == (
            f"if nobody needs its data: invoke db.disposable {target.database}"
        )
        assert mark_disposable(connection)
        require_disposable(connection, target)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", MARK),
        ("ours", f"ours\n{MARK}"),
        ("it's \\ours\nsince 2020\n", f"it's \\ours\nsince 2020\n\n{MARK}"),
    ],
)
def test_the_mark_is_written_once_below_what_is_there(
    target: Target, before: str, after: str
) -> None:
    write_comment(target, before)
    with connect(target, purpose="test") as connection:
        assert mark_disposable(connection) is True
        assert comment(target) == after
        assert mark_disposable(connection) is False
        assert comment(target) == after


@pytest.mark.parametrize(
    "text", [f"{MARK}!", f"not {MARK}", f" {MARK}", MARK.upper(), MARK.replace(" ", "")]
)
def test_only_the_exact_line_is_the_mark(target: Target, text: str) -> None:
    write_comment(target, text)
    with connect(target, purpose="test") as connection:
        assert not is_marked(connection)


def test_the_mark_of_another_database_does_not_count(target: Target, server: Target) -> None:
    write_comment(target, "")
    with scratch_database(server), connect(target, purpose="test") as connection:
        assert not is_marked(connection)


@pytest.mark.parametrize("end", ["\u2028", "\u0085", "\v", "\f", " "], ids=ascii)
def test_only_a_newline_ends_a_line_of_the_comment(target: Target, end: str) -> None:
    query(target, f"comment on database {target.database} is 'never write{end}{MARK}'")
    with connect(target, purpose="test") as connection:
        assert not is_marked(connection)


def test_a_database_is_marked_by_its_typed_name_alone(target: Target) -> None:
    write_comment(target, "")
    with pytest.raises(UnsafeTarget, match="nothing was marked"):
        dispose(target, "another")
    assert comment(target) is None
    assert dispose(target, target.database) is True
    assert dispose(target, target.database) is False
    assert comment(target) == MARK


def test_a_role_that_does_not_own_the_database_cannot_mark_it(target: Target) -> None:
    role = f"small_{target.database}"
    write_comment(target, "")
    query(target, f"create role {role} login password 'x'")
    try:
        small = replace(
            target,
            conninfo=psycopg.conninfo.make_conninfo(target.conninfo, user=role, password="x"),
        )
        with pytest.raises(TargetError, match="the role lacks a right"):
            dispose(small, target.database)
        assert comment(target) is None
    finally:
        query(target, f"drop role {role}")


def test_an_operator_ahead_in_the_path_cannot_make_a_database_disposable(target: Target) -> None:
    write_comment(target, "")
    query(target, "create schema mal; create table public.t ()")
    query(
        target,
        "create function mal.no(oid, int) returns bool language sql as 'select false';"
        "create operator mal.>= (leftarg = oid, rightarg = int, function = mal.no)",
    )
    query(target, f"alter database {target.database} set search_path = mal, public")
    assert value(target, "select not 1::oid operator(mal.>=) 1 and not 1::oid >= 1")
    with connect(target, purpose="test") as connection, pytest.raises(UnsafeTarget):
        require_disposable(connection, target)
    assert tables(target, "public") == ["t"]


def test_looking_takes_no_lock_that_somebody_could_hold(target: Target) -> None:
    query(target, "create table t ()")
    with session(target) as other:
        other.execute("lock table t")
        with connect(target, purpose="test") as connection:
            connection.execute("set lock_timeout = '100ms'")
            assert not is_empty(connection)


def test_a_database_in_sql_ascii_is_migrated_like_any_other(
    server: Target, target: Target, settings: Settings
) -> None:
    name = f"{target.database}_ascii"
    with connect(server, purpose="test") as admin:
        admin.execute(
            f"create database {name} template template0 encoding 'SQL_ASCII' "
            "locale_provider libc lc_collate 'C' lc_ctype 'C'".encode()
        )
        try:
            ascii_ = replace(
                target,
                database=name,
                conninfo=psycopg.conninfo.make_conninfo(target.conninfo, dbname=name),
            )
            assert migrated(ascii_, settings, {"0001_a.sql": "create table a ()"}) == ["0001_a"]
            assert migrated(ascii_, settings, {"0001_a.sql": "create table a ()"}) == []
        finally:
            drop_database(admin, name)
