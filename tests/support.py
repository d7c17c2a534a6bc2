"""Helpers that read like English and assert by themselves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from headwater.files.accepted import Accepted
from headwater.files.grammar import parse
from headwater.files.read import read_folder
from headwater.model import Migration, MigrationFolder, Target
from headwater.postgres.run import migrate
from headwater.settings import Settings, load_settings
from headwater.testing.servers import server_for_tests


def server_of_tests(root: Path) -> Target:
    """Give the server for the databases of a checkout's tests: TEST_DATABASE_URL, or its own."""
    return server_for_tests(load_settings(root))


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write files (name or path below the folder -> text), making folders on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def folder_with(settings: Settings, files: dict[str, str]) -> MigrationFolder:
    """Replace the folder of migrations by these files, and read it; it must be sound."""
    for old in settings.migrations.glob("**/*.sql"):
        old.unlink()
    write_files(settings.migrations, files)
    folder = read_folder(settings.migrations)
    assert folder.findings == ()
    return folder


def query(target: Target | str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement over a connection of its own, and give its rows (if any)."""
    url = target if isinstance(target, str) else target.conninfo
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def value(target: Target | str, statement: str) -> Any:
    """Run one query, and give the one value of its one row."""
    [(found,)] = query(target, statement)
    return found


def recorded(target: Target, settings: Settings) -> list[str]:
    """Give the versions in history, in order."""
    if value(target, f"select to_regclass('{settings.history}') is null"):
        return []
    return [row[0] for row in query(target, f"select version from {settings.history} order by 1")]


def drop_templates_of(target: Target, role: str) -> None:
    """Drop the templates in which a role owns or may do something: else it cannot be dropped."""
    for (name,) in query(
        target,
        "select distinct datname from pg_database d join pg_shdepend s on s.dbid = d.oid "
        "or s.dbid = 0 and s.objid = d.oid where datname like 'headwater_template_%' "
        f"and s.refobjid = '{role}'::regrole",
    ):
        query(target, f"drop database if exists {name}")


def tables(target: Target | str, schema: str = "app") -> list[str]:
    """Give the tables of a schema, in order."""
    return [
        row[0]
        for row in query(
            target,
            f"select tablename from pg_tables where schemaname = '{schema}' order by tablename",
        )
    ]


def migrated(target: Target, settings: Settings, files: dict[str, str]) -> list[str]:
    """Apply these files, and give the versions that were run."""
    done = migrate(target, folder_with(settings, files), settings)
    return [result.version for result in done.results]


def accepted_unread(migrations: Iterable[Migration]) -> tuple[Accepted, ...]:
    """Accept migrations without the refusals: what the guards behind them must stop."""
    return tuple(
        Accepted(migration=m, statements=len(parse(m.text).statements)) for m in migrations
    )


def accepted_text(text: str) -> Accepted:
    """Accept a text as the migration `0001_a`."""
    migration = Migration(version="0001_a", text=text, checksum="")
    [accepted] = accepted_unread([migration])
    return accepted


@contextmanager
def session(target: Target) -> Generator[psycopg.Connection[tuple[Any, ...]]]:
    """Open somebody else's session, inside a transaction, for as long as it is entered."""
    with psycopg.connect(target.conninfo, application_name="somebody else") as connection:
        yield connection
        if not connection.broken:
            connection.rollback()


# How long what is waited for may take on a busy machine.
PATIENCE_S = 60.0


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait until a condition holds; fail when it does not in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S:.0f} s"
        time.sleep(0.02)


def exit_code_of(child: int) -> int:
    """Give the exit code of a forked child; one that does not end is killed, and the test fails."""
    ended: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        ended.append(status)
        return pid != 0

    try:
        until(has_ended, "the end of the child")
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    return os.waitstatus_to_exitcode(ended[-1])


def running_sessions(target: Target, text: str) -> list[int]:
    """Give the backends of the target whose running query holds a text."""
    return [
        pid
        for pid, query_text in query(
            target,
            "select pid, query from pg_stat_activity where state = 'active' "
            "and datname = current_database() and pid <> pg_backend_pid()",
        )
        if text in query_text
    ]


# What a file may leave in its session, and the query that sees it: statement, probe. Both run
# behind LEAK_SETUP. (The museum's matrix of session state, and its neighbours.)
LEAK_SETUP = """
create schema app;
create function app.knows_last_value() returns boolean language plpgsql as $$
begin perform lastval(); return true;
exception when object_not_in_prerequisite_state then return false; end $$;
"""
_SETTING = "coalesce(current_setting('{}', true), '') = '{}'"
LEAKS = {
    "search_path": ("set search_path = ''", _SETTING.format("search_path", '""')),
    "search_path by function": (
        "select pg_catalog.set_config('search_path', '', false)",
        _SETTING.format("search_path", ""),
    ),
    "role": ("set role pg_monitor", "current_user = 'pg_monitor'"),
    "session authorization": (
        "set session authorization pg_monitor",
        "session_user = 'pg_monitor'",
    ),
    "temporary table": ("create temp table leak ()", "to_regclass('pg_temp.leak') is not null"),
    "temporary view": (
        "create temp view leak as select 1",
        "to_regclass('pg_temp.leak') is not null",
    ),
    "temporary type": (
        "create type pg_temp.leak as enum ('a')",
        "to_regtype('pg_temp.leak') is not null",
    ),
    "temporary function": (
        "create function pg_temp.leak() returns int language sql as 'select 1'",
        "to_regproc('pg_temp.leak') is not null",
    ),
    "prepared statement": (
        "prepare leak as select 1",
        "exists (select from pg_prepared_statements where name = 'leak')",
    ),
    "advisory lock": (
        "select pg_advisory_lock(99)",
        "exists (select from pg_locks where pid = pg_backend_pid() and objid = 99)",
    ),
    "listen": ("listen leak", "exists (select from pg_listening_channels())"),
    "held cursor": (
        "declare leak cursor with hold for select 1",
        "exists (select from pg_cursors where name = 'leak')",
    ),
    "last value": (
        "create sequence app.s; select nextval('app.s')",
        "app.knows_last_value()",
    ),
    "own parameter": ("set leak.x = '1'", _SETTING.format("leak.x", "1")),
    "transaction default": (
        "set session characteristics as transaction isolation level serializable",
        _SETTING.format("default_transaction_isolation", "serializable"),
    ),
    "local setting": ("set local work_mem = '123MB'", _SETTING.format("work_mem", "123MB")),
    "setting by DO": (
        "do $$ begin perform set_config('work_mem', '123MB', false); end $$",
        _SETTING.format("work_mem", "123MB"),
    ),
} | {
    name: (f"set {name} = '{value}'", _SETTING.format(name, value))
    for name, value in {
        "statement_timeout": "1h",
        "lock_timeout": "1h",
        "idle_in_transaction_session_timeout": "1h",
        "TimeZone": "Europe/Madrid",
        "DateStyle": "German, DMY",
        "IntervalStyle": "iso_8601",
        "client_encoding": "LATIN1",
        "standard_conforming_strings": "off",
        "quote_all_identifiers": "on",
        "bytea_output": "escape",
        "extra_float_digits": "-3",
        "row_security": "on",
        "check_function_bodies": "off",
        "session_replication_role": "replica",
        "default_tablespace": "pg_default",
    }.items()
}


def leaking_files() -> dict[str, str]:
    """Give a setup, then two files for each leak: one leaves it, the next notes if it sees it."""
    files = {"0000_setup.sql": LEAK_SETUP + "create table app.seen (leak text, leaked boolean);"}
    for number, (leak, (statement, probe)) in enumerate(LEAKS.items()):
        files[f"{2 * number + 1:04}_leaves{number}.sql"] = f"{statement};"
        files[f"{2 * number + 2:04}_looks{number}.sql"] = (
            f"insert into app.seen values ('{leak}', {probe});"
        )
    return files


def leaked(target: Target) -> list[str]:
    """Give the leaks that a later file saw; every one of them must have been looked for."""
    assert value(target, "select count(*) from app.seen") == len(LEAKS)
    return [row[0] for row in query(target, "select leak from app.seen where leaked order by 1")]
