"""Connections: the pins are in force, strangers' variables are not, and no password is told."""

from __future__ import annotations

import os
import socket
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headwater.errors import HeadwaterError, TargetError, Unreachable
from headwater.model import Target
from headwater.postgres.connect import (
    connect,
    hide_nothing_here,
    libpq_variables_hidden,
    pin,
    pin_for_bookkeeping,
    target_of,
    with_database,
)
from headwater.settings import DatabaseChoice, Settings
from tests.support import exit_code_of, migrated, query, tables, value

CANARY = "c4n4ry-P4ssw0rd"

# What somebody set for their applications, and what a migration runs under all the same.
PINNED = {
    "TimeZone": ("Europe/Madrid", "UTC"),
    "DateStyle": ("German, DMY", "ISO, MDY"),
    "IntervalStyle": ("iso_8601", "postgres"),
    "client_encoding": ("LATIN1", "UTF8"),
    "standard_conforming_strings": ("off", "on"),
    "quote_all_identifiers": ("on", "off"),
    "bytea_output": ("escape", "hex"),
    "extra_float_digits": ("-5", "1"),
    "row_security": ("on", "off"),
    "check_function_bodies": ("off", "on"),
    "default_transaction_isolation": ("serializable", "read committed"),
    "default_transaction_deferrable": ("on", "off"),
    "statement_timeout": ("70s", "0"),
    "idle_in_transaction_session_timeout": ("70s", "0"),
    "idle_session_timeout": ("70s", "0"),
    "transaction_timeout": ("70s", "0"),
    "lock_timeout": ("70s", "123ms"),
}


def set_for(target: Target, scope: str, settings: dict[str, str]) -> None:
    for name, setting in settings.items():
        query(target, f"{scope.format(target.database)} set {name} to '{setting}'")


@pytest.mark.parametrize(
    "scope",
    ["alter database {}", "alter role current_user in database {}"],
    ids=["of the database", "of the role"],
)
def test_the_pins_are_in_force_over_the_settings(target: Target, scope: str) -> None:
    set_for(target, scope, {name: theirs for name, (theirs, _) in PINNED.items()})
    with connect(target, purpose="test") as connection:
        connection.execute("set client_encoding to latin1")
        if connection.info.server_version < 17_00_00:
            pytest.skip("transaction_timeout came with 17")
        shown = {name: connection.execute(f"show {name}".encode()).fetchone() for name in PINNED}
        assert all(shown[name] != (ours,) for name, (_, ours) in PINNED.items())
        pin(connection, lock_timeout_ms=123)
        shown = {name: connection.execute(f"show {name}".encode()).fetchone() for name in PINNED}
        assert shown == {name: (ours,) for name, (_, ours) in PINNED.items()}
        assert connection.execute("show client_connection_check_interval").fetchone() == ("2s",)


def test_the_pins_leave_the_search_path_and_those_for_bookkeeping_empty_it(
    target: Target,
) -> None:
    set_for(target, "alter database {}", {"search_path": "app"})
    with connect(target, purpose="test") as connection:
        pin(connection, lock_timeout_ms=1)
        assert connection.execute("show search_path").fetchone() == ("app",)
        pin_for_bookkeeping(connection)
        assert connection.execute("show search_path").fetchone() == ('""',)


def test_a_file_runs_under_the_pins_and_the_databases_own_path(
    target: Target, settings: Settings
) -> None:
    set_for(
        target,
        "alter database {}",
        {"TimeZone": "Europe/Madrid", "statement_timeout": "50ms", "search_path": "app"},
    )
    files = {
        "0001_init.sql": "create schema app; create table t (at timestamp);"
        "insert into t values ('2025-01-01 12:00'); select pg_sleep(0.1);",
        "0002_zone.sql": "alter table t alter at type timestamptz;",
    }
    migrated(target, settings, files)
    assert tables(target) == ["t"]
    assert value(target, "select at = '2025-01-01 12:00+00' from app.t")


def test_a_connection_says_its_purpose(target: Target) -> None:
    with connect(target, purpose="looking around") as connection:
        shown = connection.execute("show application_name").fetchone()
        assert shown == ("headwater looking around",)


def test_an_application_name_of_the_user_stays(target: Target) -> None:
    named = replace(target, conninfo=make_conninfo(target.conninfo, application_name="deploy 7"))
    with connect(named, purpose="test") as connection:
        assert connection.execute("show application_name").fetchone() == ("deploy 7",)


def test_nothing_is_ever_prepared(target: Target) -> None:
    with connect(target, purpose="test") as connection:
        for _ in range(12):
            connection.execute("select %s::int", (1,))
        assert connection.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)


def test_it_is_in_autocommit_and_closed_at_the_end(target: Target) -> None:
    with connect(target, purpose="test") as connection:
        connection.execute("create table t ()")
        assert tables(target, "public") == ["t"]
    assert connection.closed
    with pytest.raises(ZeroDivisionError), connect(target, purpose="test") as connection:
        1 / 0  # noqa: B018
    assert connection.closed


# --- libpq's variables ------------------------------------------------------------------------

STRANGE = {
    "PGHOST": "nowhere.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "nothing",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGSERVICE": "no_such_service",
    "PGSERVICEFILE": "/nonexistent",
    "PGPASSFILE": "/nonexistent",
    "PGOPTIONS": "-c work_mem=77MB -c search_path=nowhere",
    "PGSSLMODE": "verify-full",
    "PGREQUIREAUTH": "none",
    "PGTARGETSESSIONATTRS": "read-only",
    "PGCLIENTENCODING": "LATIN1",
    "PGTZ": "Europe/Madrid",
    "PGDATESTYLE": "German",
    "PGAPPNAME": "a stranger",
}


def test_libpqs_variables_do_not_reach_a_private_target(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, strange in STRANGE.items():
        monkeypatch.setenv(name, strange)
    before = dict(os.environ)
    with connect(replace(target, private=True), purpose="test") as connection:
        for name in ("work_mem", "search_path", "TimeZone", "DateStyle"):
            shown = connection.execute(
                "select setting = reset_val and source not in ('client', 'session') "
                "from pg_settings where lower(name) = lower(%s)",
                (name,),
            ).fetchone()
            assert shown == (True,), name
        assert connection.info.encoding == "utf-8"
    assert dict(os.environ) == before


def test_libpqs_variables_come_back_when_there_is_no_connection(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=77MB")
    before = dict(os.environ)
    with pytest.raises(Unreachable):
        connect(replace(nowhere(), private=True), purpose="test").__enter__()
    assert dict(os.environ) == before


def test_they_are_hidden_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTZ", "Europe/Madrid")
    seen: list[bool] = []

    def hide() -> None:
        for _ in range(200):
            with libpq_variables_hidden():
                seen.append("PGTZ" in os.environ)

    threads = [threading.Thread(target=hide) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(seen)
    assert os.environ["PGTZ"] == "Europe/Madrid"


def test_a_child_that_is_forked_meanwhile_lacks_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does it wait for ever for the thread that has hidden them, which it does not have."""
    monkeypatch.setenv("PGTZ", "Europe/Madrid")
    hidden = threading.Event()

    def hide() -> None:
        with libpq_variables_hidden():
            hidden.set()
            time.sleep(0.3)

    thread = threading.Thread(target=hide)
    thread.start()
    hidden.wait()
    if (child := os.fork()) == 0:
        try:
            with libpq_variables_hidden():
                pass
            os._exit(os.environ.get("PGTZ") != "Europe/Madrid")
        finally:
            os._exit(2)
    assert exit_code_of(child) == 0
    thread.join()


def test_a_thread_that_is_to_hide_nothing_refuses_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTZ", "Europe/Madrid")

    def hide() -> None:
        hide_nothing_here()
        with pytest.raises(Unreachable, match="PGTZ would be hidden"), libpq_variables_hidden():
            pass
        monkeypatch.delenv("PGTZ")
        with libpq_variables_hidden():
            pass

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hide).result()
    with libpq_variables_hidden():
        pass


def test_a_target_of_the_users_is_opened_by_libpqs_rules(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=77MB")
    with connect(replace(target, private=False), purpose="test") as connection:
        assert connection.execute("show work_mem").fetchone() == ("77MB",)


# --- targets ----------------------------------------------------------------------------------


def test_a_url_becomes_a_target() -> None:
    url = f"postgresql://ana:{CANARY}@db.example:5433/shop"
    target = target_of(DatabaseChoice(source="DATABASE_URL", url=url))
    assert str(target) == "shop at ana@db.example:5433 (DATABASE_URL)"
    assert not target.private
    assert CANARY not in repr(target) + str(target)


def test_libpqs_keywords_become_a_target() -> None:
    keywords = {"host": "db.example", "dbname": "shop", "user": "ana", "password": CANARY}
    target = target_of(DatabaseChoice(source="PGHOST", keywords=keywords))
    assert (target.host, target.port, target.database) == ("db.example", "5432", "shop")
    assert conninfo_to_dict(target.conninfo)["password"] == CANARY


def test_what_a_url_leaves_open_is_what_libpq_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGUSER", "ana")
    monkeypatch.delenv("PGDATABASE", raising=False)
    monkeypatch.delenv("PGHOST", raising=False)
    target = target_of(DatabaseChoice(source="DATABASE_URL", url="postgresql://"))
    assert str(target) == "ana at ana@local socket:6543 (DATABASE_URL)"


def test_another_database_of_the_same_server_keeps_the_rest(target: Target) -> None:
    other = with_database(target, "postgres", "elsewhere")
    assert (other.host, other.port, other.user) == (target.host, target.port, target.user)
    assert (other.database, other.source, other.private) == (
        "postgres",
        "elsewhere",
        target.private,
    )
    assert value(other, "select current_database()") == "postgres"


# --- no password is told ----------------------------------------------------------------------


def nowhere() -> Target:
    """Give a target on a port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return choice(f"postgresql://ana:{CANARY}@127.0.0.1:{port}/shop")


def choice(url: str) -> Target:
    return target_of(DatabaseChoice(source="DATABASE_URL in .env", url=url))


def assert_silent(error: HeadwaterError) -> None:
    """Require that the password is in nothing that may be shown of an error, its cause included."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + error.detail + error.hint
    for secret in (CANARY, CANARY[:8], CANARY[-8:]):
        assert secret not in shown


def refused(target: Target) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        connect(target, purpose="test").__enter__()
    assert caught.value.exit_code == 2
    assert str(target) in caught.value.message
    assert_silent(caught.value)
    return caught.value


def changed(target: Target, **parts: str) -> Target:
    """Give the target as a user's choice, with the canary for a password and some parts changed."""
    known = conninfo_to_dict(target.conninfo) | {"password": CANARY} | parts
    known.pop("require_auth", None)
    keywords = {name: str(part) for name, part in known.items()}
    return target_of(DatabaseChoice(source="DATABASE_URL in .env", keywords=keywords))


def test_a_wrong_password_is_told_without_it(target: Target) -> None:
    error = refused(changed(target))
    assert "password authentication failed" in error.detail
    assert error.hint == "check user and password in DATABASE_URL in .env"


def test_a_wrong_user_is_told_without_the_password(target: Target) -> None:
    assert "nobody_here" in refused(changed(target, user="nobody_here")).message


def test_a_missing_database_is_told_with_the_way_to_make_it(target: Target) -> None:
    missing = replace(
        target,
        database="no_such",
        private=False,
        conninfo=make_conninfo(target.conninfo, dbname="no_such"),
    )
    with pytest.raises(Unreachable) as caught:
        connect(missing, purpose="test").__enter__()
    assert 'database "no_such" does not exist' in caught.value.detail
    assert caught.value.hint == "create it: createdb no_such"
    password = str(conninfo_to_dict(target.conninfo).get("password") or "no password at all")
    assert password not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_host_is_told_without_the_password() -> None:
    error = refused(choice(f"postgresql://ana:{CANARY}@nowhere.invalid/shop"))
    assert "nowhere.invalid" in error.detail
    assert "host and port" in error.hint


def test_a_closed_port_is_told_without_the_password() -> None:
    assert "refused" in refused(nowhere()).detail


@pytest.mark.parametrize(
    "options",
    [
        "sslmode=nonsense",
        "connect_timeout=soon",
        "sslmode=verify-full&sslrootcert=/nonexistent",
        f"service={CANARY}",
        f"options=-c%20{CANARY}%3D1",
        f"passfile=/nonexistent/{CANARY}",
        f"application_name={CANARY}",
        f"hostaddr={CANARY}",
        "target_session_attrs=nonsense",
    ],
)
def test_no_option_makes_a_message_with_the_password(options: str) -> None:
    target = nowhere()
    with pytest.raises(TargetError) as caught:
        connect(
            choice(f"postgresql://ana:{CANARY}@127.0.0.1:{target.port}/shop?{options}"),
            purpose="test",
        ).__enter__()
    assert_silent(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:{}@db:no/shop?x",
        "postgresql://ana:{}%zz@db/shop",
        "postgresql://ana:{}@db/shop?nope=1",
        "postgresql://ana:{}@[::1/shop",
        "postgresql://ana:{}@db/shop?password",
        "postgresql://ana:{}@db/shop?sslmode=a=b",
        "{}",
        "host=db password={} broken",
        "host=db password='{}",
        "mysql://ana:{}@db/shop",
    ],
)
def test_a_broken_url_is_told_without_quoting_it(url: str) -> None:
    with pytest.raises(TargetError, match=r"DATABASE_URL in \.env cannot be understood") as caught:
        choice(url.format(CANARY))
    assert caught.value.exit_code == 2
    assert_silent(caught.value)


def test_a_server_that_repeats_the_password_is_not_repeated(target: Target) -> None:
    """Whatever a message holds, the password of the target and PGPASSWORD become ***."""
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        connection.execute(f"create role {target.database} login password '{CANARY}'".encode())
    try:
        theirs = changed(target, user=target.database, dbname=CANARY)
        with pytest.raises(Unreachable) as caught:
            connect(theirs, purpose="test").__enter__()
        assert 'database "***" does not exist' in caught.value.detail
        assert "c4n4ry" not in str(caught.value.__cause__)
    finally:
        query(target, f"drop role {target.database}")


@pytest.mark.parametrize("host", ["exämple..invalid", "a" * 64 + ".invalid"], ids=["empty", "long"])
def test_a_host_that_is_no_name_is_told_without_a_traceback(host: str) -> None:
    url = f"postgresql://user:{CANARY}@{host}:1/db"
    target = target_of(DatabaseChoice(source="DATABASE_URL", url=url))
    with pytest.raises(Unreachable, match="no connection to") as caught:
        connect(target, purpose="test").__enter__()
    assert CANARY not in repr(caught.value.__dict__)
