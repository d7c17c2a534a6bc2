"""A dry run: the SQL of what is pending, with migrate's checks, and never a write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from headwater.errors import FilesError, HistoryError, OutcomeUnknown, TargetError
from headwater.model import Migrated, Preview, Target
from headwater.postgres import preview as previewing
from headwater.postgres.connect import Connection
from headwater.postgres.run import migrate
from headwater.postgres.trial import trial
from headwater.settings import Settings
from tests.clusters import cluster, standby
from tests.support import folder_with, migrated, query, recorded, session, until, value

INIT = {"0001_init.sql": "create schema app;\ncreate table app.t (i int primary key);\n"}
INDEX = {
    "0002_index.sql": "-- headwater: no-transaction\ncreate index concurrently i on app.t (i);\n"
}
SECOND = {"0002_second.sql": "alter table app.t add j int;"}
CONDITION = {"0001_init.verify.sql": 'select true as "all is well";'}


def dry_run(target: Target, settings: Settings, files: dict[str, str], **named: Any) -> Migrated:
    return migrate(target, folder_with(settings, files), settings, dry_run=True, **named)


def test_a_dry_run_gives_each_pending_file_and_touches_nothing(
    target: Target, settings: Settings
) -> None:
    done = dry_run(target, settings, INIT | CONDITION | INDEX)
    assert done.previews == (
        Preview(
            version="0001_init",
            sql=INIT["0001_init.sql"],
            transactional=True,
            post_conditions=("all is well",),
        ),
        Preview(version="0002_index", sql=INDEX["0002_index.sql"], transactional=False),
    )
    assert (done.dry_run, done.results) == (True, ())
    assert value(target, f"select to_regclass('{settings.history}') is null")


def test_only_what_is_pending_is_shown(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    assert [p.version for p in dry_run(target, settings, INIT | INDEX).previews] == ["0002_index"]
    assert dry_run(target, settings, INIT).previews == ()
    assert dry_run(target, settings, INIT | INDEX, to="0001_init").previews == ()


def test_the_server_keeps_a_dry_run_from_writing(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def writes(connection: Connection, *_: object) -> None:
        connection.execute("create table public.written ()")

    migrated(target, settings, INIT)
    monkeypatch.setattr(previewing, "require_resumable", writes)
    with pytest.raises(TargetError, match="read-only"):
        dry_run(target, settings, INIT | INDEX)
    assert value(target, "select to_regclass('public.written') is null")


def test_a_dry_run_refuses_what_migrate_refuses(target: Target, settings: Settings) -> None:
    with pytest.raises(FilesError, match="1 problem"):
        dry_run(target, settings, INIT | {"0002_end.sql": "commit;"})
    with pytest.raises(HistoryError, match="disagree"):
        dry_run(target, settings, INIT, to="0009_nothing")
    migrated(target, settings, INIT)
    with pytest.raises(HistoryError, match="disagree"):
        dry_run(target, settings, {"0001_init.sql": "create schema app; -- edited"})


def test_a_dry_run_refuses_a_journal_that_does_not_fit(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    query(
        target,
        f"insert into {settings.history}_steps (version, step, tokens, state) "
        "values ('0002_index', 1, 'tok-1:other', 'done')",
    )
    with pytest.raises((FilesError, OutcomeUnknown)) as dry:
        dry_run(target, settings, INIT | INDEX)
    with pytest.raises((FilesError, OutcomeUnknown)) as real:
        migrate(target, folder_with(settings, INIT | INDEX), settings)
    assert (type(dry.value), dry.value.message) == (type(real.value), real.value.message)


def test_a_dry_run_needs_no_lock(target: Target, settings: Settings) -> None:
    settings = replace(settings, wait_lock_ms=0)
    with session(target) as other:
        other.execute(f"select pg_advisory_lock({settings.lock_key})".encode())
        assert len(dry_run(target, settings, INIT).previews) == 1


def test_a_role_that_may_only_read_sees_a_dry_run(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    role = f"reader_{target.database[-12:]}"
    query(target, f"create role {role} login password 'reads'")
    try:
        query(target, f"grant pg_read_all_data to {role}")
        query(target, f"alter role {role} set default_transaction_read_only = on")
        reader = replace(
            target,
            user=role,
            conninfo=conninfo.make_conninfo(target.conninfo, user=role, password="reads"),
        )
        assert [p.version for p in dry_run(reader, settings, INIT | INDEX).previews] == [
            "0002_index"
        ]
        with pytest.raises(psycopg.Error):
            query(reader, "create table app.written ()")
    finally:
        query(target, f"drop owned by {role}; drop role {role}")
    assert recorded(target, settings) == ["0001_init"]


def test_a_standby_shows_a_dry_run_and_refuses_a_trial(settings: Settings) -> None:
    with cluster() as primary, standby(primary) as follower:
        migrated(primary.target(), settings, INIT)
        follower.start()
        until(lambda: recorded(follower.target(), settings), "the history on the standby")
        done = dry_run(follower.target(), settings, INIT | INDEX)
        assert [p.version for p in done.previews] == ["0002_index"]
        with pytest.raises(TargetError, match="is a standby"):
            trial(follower.target(), folder_with(settings, INIT | SECOND), settings)
