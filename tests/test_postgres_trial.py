"""A trial: everything runs as migrate would run it, and nothing of it is kept."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from typing import Any

import pytest

from headwater.errors import (
    FilesError,
    HistoryError,
    LockBusy,
    MigrationFailed,
    TargetError,
    UnsafeTarget,
)
from headwater.files import grammar
from headwater.model import Event, Finished, Said, Target
from headwater.outcomes import LockMode, TableLock, Tried
from headwater.postgres import together
from headwater.postgres import trial as trying
from headwater.postgres.patience import Patience
from headwater.postgres.trial import trial
from headwater.settings import Settings
from tests.support import (
    LEAKS,
    folder_with,
    leaking_files,
    migrated,
    query,
    recorded,
    running_sessions,
    session,
    tables,
    until,
    value,
)

INIT = {"0001_init.sql": "create schema app;\ncreate table app.t (i int primary key);\n"}
SECOND = {"0002_second.sql": "create table app.second (i int);\nalter table app.t add j int;"}
NO_TRANSACTION = "-- headwater: no-transaction\n"

# The catalogue and the rows, as far as a file could change them.
_STATE = """
select (select count(*) from pg_class), (select count(*) from pg_proc),
       (select count(*) from pg_type), (select count(*) from pg_namespace),
       (select count(*) from pg_depend),
       (select string_agg(attrelid || '.' || attname, ',' order by attrelid, attname)
          from pg_attribute where attrelid >= 16384)
"""

_LOCKS = """
select 1 from pg_locks join pg_database d on d.oid = database
 where locktype = 'advisory' and datname = current_database()
"""


def tried(target: Target, settings: Settings, files: dict[str, str], **named: Any) -> Tried:
    """Try these files; afterwards the catalogue must be what it was, however the trial ends."""
    before = query(target, _STATE)
    try:
        return trial(target, folder_with(settings, files), settings, **named)
    finally:
        assert query(target, _STATE) == before, "something was kept"
        until(lambda: query(target, _LOCKS) == [], "the end of the lock")


def unmark(target: Target) -> None:
    query(target, f"comment on database {target.database} is null")


def test_a_trial_of_an_empty_database_keeps_nothing_not_even_a_history(
    target: Target, settings: Settings
) -> None:
    done = tried(target, settings, INIT | SECOND)
    assert [result.version for result in done.results] == ["0001_init", "0002_second"]
    assert [result.statements for result in done.results] == [2, 2]
    assert value(target, f"select to_regclass('{settings.history}') is null")


def test_only_what_is_pending_is_tried_and_history_stays_as_it_is(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, INIT)
    query(target, "insert into app.t values (42)")
    done = tried(target, settings, INIT | SECOND)
    assert [result.version for result in done.results] == ["0002_second"]
    assert recorded(target, settings) == ["0001_init"]
    assert tables(target) == ["t"]
    assert query(target, "select * from app.t") == [(42,)]
    assert migrated(target, settings, INIT | SECOND) == ["0002_second"]
    assert tried(target, settings, INIT | SECOND).results == ()


def test_a_trial_stops_at_the_version_that_is_named(target: Target, settings: Settings) -> None:
    done = tried(target, settings, INIT | SECOND, to="0001_init")
    assert [result.version for result in done.results] == ["0001_init"]


def test_a_trial_says_what_it_runs_and_how_long_it_took(target: Target, settings: Settings) -> None:
    events = list[Event]()
    slow = {"0002_slow.sql": "select pg_sleep(0.1);"}
    done = tried(target, settings, INIT | slow, notify=events.append)
    assert done.results[1].duration_ms >= 100
    assert [event.result for event in events if isinstance(event, Finished)] == list(done.results)


def test_sequences_may_have_advanced(target: Target, settings: Settings) -> None:
    query(target, "create schema app; create sequence app.s; select nextval('app.s')")
    tried(target, settings, {"0001_next.sql": "select nextval('app.s');"})
    assert value(target, "select nextval('app.s')") == 3


# --- the same guards --------------------------------------------------------------------------


def test_a_failure_is_told_as_migrate_tells_it_and_nothing_is_kept(
    target: Target, settings: Settings
) -> None:
    broken = {"0002_second.sql": "create table app.second (i int);\nselect nothing;"}
    with pytest.raises(MigrationFailed, match=r"0002_second\.sql:2:8: .*does not exist") as caught:
        tried(target, settings, INIT | broken)
    assert caught.value.exit_code == 3
    assert caught.value.hint == "nothing was kept; mend the file and run the same command again"
    assert "SQLSTATE 42703" in caught.value.detail


def test_a_post_condition_that_does_not_hold_fails_the_trial(
    target: Target, settings: Settings
) -> None:
    condition = {"0001_init.verify.sql": 'select count(*) = 1 as "one row" from app.t;'}
    with pytest.raises(MigrationFailed, match="“one row” does not hold"):
        tried(target, settings, INIT | condition)
    row = {"0001_init.sql": INIT["0001_init.sql"] + "insert into app.t values (1);"}
    assert len(tried(target, settings, row | condition).results) == 1


def test_a_deferred_constraint_is_checked_with_the_file_that_breaks_it(
    target: Target, settings: Settings
) -> None:
    files = INIT | {
        "0002_deferred.sql": "create table app.b (i int references app.t deferrable initially "
        "deferred); insert into app.b values (7);",
        "0003_more.sql": "select 1;",
    }
    with pytest.raises(MigrationFailed, match=r"0002_deferred\.sql.*foreign key"):
        tried(target, settings, files)


def test_a_record_that_would_not_be_kept_fails_the_trial(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, INIT)
    rule = f"create rule gone as on insert to {settings.history} do instead nothing;"
    with pytest.raises(MigrationFailed, match="did not keep the record"):
        tried(target, settings, INIT | {"0002_rule.sql": rule})


def test_no_file_meets_what_another_left_in_its_session(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = leaking_files()
    # What was seen is rolled back as well: the last file fails with the list.
    files["9999_tells.sql"] = (
        "do $$ begin raise exception 'seen: % of %', (select count(*) from app.seen where leaked), "
        "(select count(*) from app.seen); end $$;"
    )
    with pytest.raises(MigrationFailed, match=f"seen: 0 of {len(LEAKS)}"):
        tried(target, settings, files)
    print(f"kinds of session state seen by the next file of a trial: 0 of {len(LEAKS)}")
    monkeypatch.setattr(together, "FORGET", b"SELECT;")
    with pytest.raises(MigrationFailed, match=r"seen: [1-9]\d* of |already exists"):
        tried(target, settings, files)


def test_files_and_history_that_disagree_are_refused(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    edited = {"0001_init.sql": INIT["0001_init.sql"] + "-- edited\n"}
    with pytest.raises(HistoryError):
        tried(target, settings, edited | SECOND)


def test_every_file_is_checked_before_the_first_one_runs(
    target: Target, settings: Settings
) -> None:
    events = list[Event]()
    with pytest.raises(FilesError, match="1 problem"):
        tried(target, settings, INIT | {"0002_end.sql": "commit;"}, notify=events.append)
    assert events == []


# --- what one transaction cannot hold ---------------------------------------------------------


def test_a_file_without_a_transaction_is_refused_and_named(
    target: Target, settings: Settings
) -> None:
    files = INIT | {
        "0002_index.sql": f"{NO_TRANSACTION}create index concurrently t_i_idx on app.t (i);",
        "0003_vacuum.sql": f"{NO_TRANSACTION}vacuum;",
    }
    with pytest.raises(FilesError, match="a trial is one transaction") as caught:
        tried(target, settings, files)
    assert [f.file for f in caught.value.findings] == ["0002_index.sql", "0003_vacuum.sql"]
    assert caught.value.hint.endswith("invoke migrate --trial --to 0001_init")
    assert len(tried(target, settings, files, to="0001_init").results) == 1


def test_a_new_enum_value_that_a_later_file_uses_gets_its_sentence(
    target: Target, settings: Settings
) -> None:
    migrated(
        target, settings, {"0001_a.sql": "create schema app; create type app.e as enum ('a');"}
    )
    files = {
        "0001_a.sql": "create schema app; create type app.e as enum ('a');",
        "0002_value.sql": "alter type app.e add value 'b';",
        "0003_use.sql": "select 'b'::app.e;",
    }
    with pytest.raises(MigrationFailed, match=r"0003_use\.sql:1:8: unsafe use of new") as caught:
        tried(target, settings, files)
    assert "one transaction cannot hold this file together with those before" in caught.value.detail
    assert caught.value.hint == (
        "nothing was kept; for those before it: invoke migrate --trial --to 0002_value"
    )
    assert migrated(target, settings, files) == ["0002_value", "0003_use"]


def test_what_fails_in_the_first_file_is_not_the_trials_fault(
    target: Target, settings: Settings
) -> None:
    migrated(
        target, settings, {"0001_a.sql": "create schema app; create type app.e as enum ('a');"}
    )
    files = {
        "0001_a.sql": "create schema app; create type app.e as enum ('a');",
        "0002_value.sql": "alter type app.e add value 'b'; select 'b'::app.e;",
    }
    with pytest.raises(MigrationFailed, match="unsafe use of new") as caught:
        tried(target, settings, files)
    assert "one transaction cannot hold" not in caught.value.detail
    assert "mend the file" in caught.value.hint


def test_constraints_set_ahead_of_other_files_are_refused(
    target: Target, settings: Settings
) -> None:
    sets = {"0002_set.sql": "set constraints all deferred;"}
    with pytest.raises(FilesError, match="sets constraints for its transaction") as caught:
        tried(target, settings, INIT | sets | {"0003_more.sql": "select 1;"})
    assert "--to 0002_set" in caught.value.hint
    assert len(tried(target, settings, INIT | sets).results) == 2


# --- where it may ------------------------------------------------------------------------------


def test_on_a_target_that_is_not_disposable_the_locks_are_told_and_the_name_is_wanted(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, INIT)
    unmark(target)
    files = (
        INIT
        | SECOND
        | {"0003_read.sql": "create table app.k as select * from app.t join app.second using (i);"}
    )
    with pytest.raises(UnsafeTarget, match="is not disposable") as caught:
        tried(target, settings, files)
    assert caught.value.exit_code == 2
    assert caught.value.detail.splitlines()[1:] == [
        "app.t: ACCESS EXCLUSIVE (blocks reads and writes)"
    ]
    assert caught.value.hint.endswith(f"invoke migrate --trial --confirm {target.database}")
    events = list[Event]()
    done = tried(target, settings, files, confirm=target.database, notify=events.append)
    said = [event.message for event in events if isinstance(event, Said)]
    assert "app.t: ACCESS EXCLUSIVE (blocks reads and writes)" in said[0]
    assert done.locks == (TableLock(relation="app.t", mode=LockMode.ACCESS_EXCLUSIVE),)


def test_a_name_that_is_not_the_targets_is_refused_even_where_none_is_wanted(
    target: Target, settings: Settings
) -> None:
    with pytest.raises(UnsafeTarget, match="not 'production'; nothing was run") as caught:
        tried(target, settings, INIT, confirm="production")
    assert f"--confirm {target.database}" in caught.value.hint


def test_the_locks_that_are_told_reach_unqualified_names_indexes_and_views(
    target: Target, settings: Settings
) -> None:
    query(
        target,
        "create schema app; create table app.t (i int); create index t_i_idx on app.t (i);"
        'create table public.u (i int); create view app."V" as select 1 as i;',
    )
    unmark(target)
    files = {
        "0001_all.sql": "drop index app.t_i_idx; insert into u values (1); create table app.new ();"
        'select * from app."V", app.new, app.missing;'
    }
    with pytest.raises(UnsafeTarget) as caught:
        tried(target, settings, files)
    assert caught.value.detail.splitlines()[1:] == [
        "app.t: ACCESS EXCLUSIVE (blocks reads and writes)",
        "public.u: ROW EXCLUSIVE (blocks CREATE INDEX and ALTER TABLE; reads and writes go on)",
        'app."V": ACCESS SHARE (blocks only what needs the table alone, such as ALTER TABLE)',
    ]


def test_the_locks_that_were_held_are_those_of_the_server(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, INIT)
    files = INIT | {"0002_hidden.sql": "do $$ begin execute 'lock app.t in share mode'; end $$;"}
    done = tried(target, settings, files)
    assert done.locks == (TableLock(relation="app.t", mode=LockMode.SHARE),)


def test_a_read_only_session_is_refused(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    query(target, f"alter database {target.database} set default_transaction_read_only = on")
    with pytest.raises(TargetError, match="read-only") as caught:
        tried(target, settings, INIT | SECOND)
    assert caught.value.exit_code == 2


# --- others -----------------------------------------------------------------------------------


def test_a_lock_that_somebody_holds_is_waited_for_and_named(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(target, settings, INIT)
    settings = replace(settings, lock_timeout_ms=50)
    patience = Patience(attempts=2, first_pause_s=0.01, longest_pause_s=0.01)
    monkeypatch.setattr(trying, "PATIENCE", patience)
    events = list[Event]()
    with session(target) as somebody:
        somebody.execute("select * from app.t")
        with pytest.raises(LockBusy, match="2 times; nothing was kept") as caught:
            tried(target, settings, INIT | SECOND, notify=events.append)
        assert "somebody else" in caught.value.detail
        assert any("attempt 2 of 2" in e.message for e in events if isinstance(e, Said))
    assert len(tried(target, settings, INIT | SECOND).results) == 1


def test_another_runner_is_waited_for(target: Target, settings: Settings) -> None:
    settings = replace(settings, wait_lock_ms=50)
    with session(target) as other:
        other.execute(f"select pg_advisory_lock({settings.lock_key})".encode())
        with pytest.raises(LockBusy, match="another runner"):
            trial(target, folder_with(settings, INIT), settings)


def test_ctrl_c_ends_the_statement_and_keeps_nothing(target: Target, settings: Settings) -> None:
    def interrupt() -> None:
        until(lambda: running_sessions(target, "pg_sleep(30)"), "the sleep")
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            tried(target, settings, INIT | {"0002_sleep.sql": "select pg_sleep(30);"})
    finally:
        watcher.join()
    assert running_sessions(target, "pg_sleep(30)") == []


def test_a_connection_that_is_lost_keeps_nothing(target: Target, settings: Settings) -> None:
    gone = "select pg_terminate_backend(pg_backend_pid());"
    with pytest.raises(MigrationFailed, match="the connection was lost; nothing changed"):
        tried(target, settings, INIT | {"0002_gone.sql": gone})


def test_each_file_is_parsed_and_has_its_own_lock_timeout(
    target: Target, settings: Settings
) -> None:
    files = {
        "0001_a.sql": "-- headwater: lock-timeout 7s\ndo $$ begin raise exception '%', "
        "current_setting('lock_timeout'); end $$;"
    }
    assert grammar.parse(files["0001_a.sql"]).statements
    with pytest.raises(MigrationFailed, match="7s"):
        tried(target, settings, files)
