"""Statements outside of a transaction: which they are, and how long one waits for others."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from headwater.errors import MigrationFailed
from headwater.model import Event, Said, Target
from headwater.postgres.concurrently import is_concurrent, runs_in_transaction
from headwater.postgres.run import migrate
from headwater.settings import Settings
from tests.support import accepted_text, folder_with, migrated, query, session, until, value

BASE = {"0001_init.sql": "create schema app; create table app.t (i int);"}
BUILD = {
    "0002_n.sql": "-- headwater: no-transaction\n"
    "create index concurrently t_i on app.t (i);\n"
    "create table app.seen as select current_setting('lock_timeout') as lock_timeout;"
}
OLD_SNAPSHOT = "set transaction isolation level repeatable read; select 1"


@pytest.mark.parametrize(
    ("text", "inside", "concurrent"),
    [
        ("create table a ()", True, False),
        ("create index i on t (a)", True, False),
        ("do $$ begin perform 1; end $$", True, False),
        ("do $$ begin commit; end $$", False, False),
        ("call p()", False, False),
        ("vacuum t", False, False),
        ("reindex index i", False, False),
        ("create index concurrently i on t (a)", False, True),
        ("drop index concurrently i", False, True),
        ("reindex (concurrently) table t", False, True),
        ("alter table p detach partition q concurrently", False, True),
    ],
)
def test_a_statement_is_told_by_its_grammar(text: str, inside: bool, concurrent: bool) -> None:
    [statement] = accepted_text(text).script.statements
    assert runs_in_transaction(statement) is inside
    assert is_concurrent(statement) is concurrent


def test_no_lock_timeout_cuts_a_build_short_and_it_is_back_afterwards(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, BASE)
    query(target, f"alter database {target.database} set lock_timeout = '40ms'")
    with session(target) as other:
        other.execute("insert into app.t values (1)")
        timer = threading.Timer(0.6, other.rollback)
        timer.start()
        migrated(target, replace(settings, lock_timeout_ms=50), BASE | BUILD)
        timer.join()
    assert value(target, "select indisvalid from pg_index where indexrelid = 'app.t_i'::regclass")
    assert value(target, "select lock_timeout from app.seen") == "50ms"


def test_a_build_that_waits_too_long_is_cancelled_and_names_whom_it_waited_for(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, BASE)
    folder = folder_with(settings, BASE | BUILD)
    said: list[Event] = []
    with session(target) as other:
        other.execute(OLD_SNAPSHOT.encode())
        # Who waits for ever must not keep the test.
        late = threading.Timer(4, other.rollback)
        late.start()
        with pytest.raises(MigrationFailed) as caught:
            migrate(target, folder, replace(settings, wait_concurrently_ms=200), notify=said.append)
        late.cancel()
        holder = other.info.backend_pid
    detail = caught.value.detail
    assert "cancelled: it waited longer than 0.2 s (--wait-concurrently)" in detail
    assert f"process {holder} (somebody else as " in detail
    assert value(target, "select to_regclass('app.t_i') is null")
    told = [event.message for event in said if isinstance(event, Said)]
    assert any(f"waiting for process {holder} (somebody else as" in message for message in told)


def test_what_a_build_waits_for_is_told_while_it_waits(target: Target, settings: Settings) -> None:
    migrated(target, settings, BASE)
    folder = folder_with(settings, BASE | BUILD)
    told: list[str] = []
    with session(target) as other:
        other.execute("insert into app.t values (1)")

        def listen(event: Event) -> None:
            if isinstance(event, Said):
                told.append(event.message)

        run = threading.Thread(target=lambda: migrate(target, folder, settings, notify=listen))
        run.start()
        until(lambda: told, "a word about the wait")
        other.rollback()
        run.join(20)
    assert told[0].startswith("0002_n.sql, statement 1: waiting for process ")
    assert value(target, "select indisvalid from pg_index where indexrelid = 'app.t_i'::regclass")
