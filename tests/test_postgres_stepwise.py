"""A no-transaction file that goes on: no statement runs twice, or without the lock."""

from __future__ import annotations

import json

import psycopg
import pytest

from headwater.errors import FilesError, HalfDone, HeadwaterError, OutcomeUnknown
from headwater.model import Event, Started, Target
from headwater.postgres import stepwise
from headwater.postgres.run import migrate
from headwater.settings import Settings
from tests.support import folder_with, migrated, query, recorded, tables, value

NO_TRANSACTION = "-- headwater: no-transaction\n"
INIT = {"0001_init.sql": "create schema app; create table app.t (i int);"}
BUILD = "create index concurrently t_i on app.t (i);"
LOSE = (
    "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
    "where application_name = 'headwater lock' and datname = current_database()"
)


def stopped(target: Target, settings: Settings, text: str) -> HeadwaterError:
    with pytest.raises(HeadwaterError) as caught:
        migrated(target, settings, INIT | {"0003_n.sql": NO_TRANSACTION + text})
    assert recorded(target, settings) == ["0001_init"]
    return caught.value


def as_if_cut_off(target: Target, settings: Settings, statement: str) -> None:
    """Have a run done with a statement, and its journal say that it was only started."""
    stopped(target, settings, f"{statement}\nselect nothing;")
    query(target, "update schema_migrations_steps set state = 'started' where step = 1")


def test_a_statement_that_was_done_is_not_run_again(target: Target, settings: Settings) -> None:
    as_if_cut_off(target, settings, BUILD)
    oid = value(target, "select 'app.t_i'::regclass::oid")
    migrated(target, settings, INIT | {"0003_n.sql": f"{NO_TRANSACTION}{BUILD}\nselect 1;"})
    assert value(target, "select 'app.t_i'::regclass::oid") == oid


def test_a_statement_that_was_done_cannot_be_edited(target: Target, settings: Settings) -> None:
    as_if_cut_off(target, settings, BUILD)
    edited = BUILD.replace("(i)", "(i) where i > 0")
    error = stopped(target, settings, f"{edited}\nselect 1;")
    assert isinstance(error, FilesError)
    assert "statement 1 was edited after it had run" in error.message


def test_where_the_catalogue_cannot_tell_nothing_is_run_again(
    target: Target, settings: Settings
) -> None:
    build = "create index concurrently on app.t (i);"
    as_if_cut_off(target, settings, build)
    query(target, "create index theirs on app.t (i)")
    error = stopped(target, settings, f"{build}\nselect 1;")
    assert isinstance(error, OutcomeUnknown)
    assert value(target, "select count(*) from pg_index where indrelid = 'app.t'::regclass") == 2


def test_an_end_that_nobody_knows_is_told_before_any_other_file_runs(
    target: Target, settings: Settings
) -> None:
    text = "do $$ begin commit; perform pg_terminate_backend(pg_backend_pid()); end $$;"
    assert isinstance(stopped(target, settings, text), OutcomeUnknown)
    files = INIT | {
        "0002_first.sql": "create table app.first ();",
        "0003_n.sql": NO_TRANSACTION + text,
    }
    with pytest.raises(OutcomeUnknown):
        migrated(target, settings, files)
    assert recorded(target, settings) == ["0001_init"]


def test_the_process_of_a_dead_runner_is_gone_before_its_statement_is_looked_at(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepwise, "_OUTLIVE_PAUSE_S", 0.01)
    as_if_cut_off(target, settings, BUILD)
    with psycopg.connect(target.conninfo, autocommit=True) as dead:
        pid = dead.info.backend_pid
        since = value(target, f"select backend_start::text from pg_stat_activity where pid = {pid}")
        query(
            target,
            "update schema_migrations_steps set before = before || "
            f"'{json.dumps({'pid': pid, 'since': since})}'",
        )
        migrated(target, settings, INIT | {"0003_n.sql": f"{NO_TRANSACTION}{BUILD}\nselect 1;"})
        with pytest.raises(psycopg.OperationalError):
            dead.execute("select 1")


def test_a_process_that_only_has_its_number_is_left_alone(
    target: Target, settings: Settings
) -> None:
    as_if_cut_off(target, settings, BUILD)
    with psycopg.connect(target.conninfo, autocommit=True) as innocent:
        before = json.dumps({"pid": innocent.info.backend_pid, "since": "2020-01-01"})
        query(target, f"update schema_migrations_steps set before = before || '{before}'")
        migrated(target, settings, INIT | {"0003_n.sql": f"{NO_TRANSACTION}{BUILD}\nselect 1;"})
        assert innocent.execute("select 1").fetchone() == (1,)


def test_no_statement_begins_without_the_lock(target: Target, settings: Settings) -> None:
    folder = folder_with(settings, INIT | {"0003_n.sql": NO_TRANSACTION + BUILD})

    def lose(event: Event) -> None:
        if isinstance(event, Started) and event.version == "0003_n":
            query(target, LOSE)

    with pytest.raises(HalfDone, match="the connection that held the lock was lost"):
        migrate(target, folder, settings, notify=lose)
    assert value(target, "select to_regclass('app.t_i') is null")


def test_a_statement_that_loses_the_lock_is_rolled_back(target: Target, settings: Settings) -> None:
    block = LOSE.replace("select", "perform", 1)
    text = f"do $$ begin create table app.b (); {block}; end $$;"
    assert isinstance(stopped(target, settings, text), HalfDone)
    assert tables(target) == ["t"]


def test_a_file_is_not_recorded_without_the_lock(target: Target, settings: Settings) -> None:
    files = INIT | {
        "0003_n.sql": f"{NO_TRANSACTION}{BUILD}",
        "0003_n.verify.sql": f'select count(*) = 1 as "the lock was there" from ({LOSE}) l',
    }
    with pytest.raises(HalfDone, match="recording it failed"):
        migrated(target, settings, files)
    assert recorded(target, settings) == ["0001_init"]
