"""A transactional file: each guard behind the grammar stops what the others let through."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from headwater.errors import LockBusy, MigrationFailed
from headwater.files.accepted import Accepted
from headwater.files.grammar import Script, parse
from headwater.model import Event, Finished, Migration, Started, Target
from headwater.postgres import job, session, transaction
from headwater.postgres import run as runner
from headwater.postgres.connect import Connection
from headwater.postgres.job import Job, sessions
from headwater.postgres.lock import migration_lock
from headwater.postgres.run import migrate
from headwater.postgres.session import Traces
from headwater.postgres.wire import Reply, send
from headwater.settings import Settings
from tests.support import (
    accepted_unread,
    folder_with,
    migrated,
    query,
    recorded,
    tables,
)

NO_TRACES = Traces(none=True, stays=False, fires=False, adds_code=False, names_history=False)
ENDS = "create schema if not exists app; {}; create table app.b ();"


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file pass the grammar's refusals, to meet the guards behind them."""
    monkeypatch.setattr(runner, "accept", accepted_unread)


def require_refused(target: Target, settings: Settings, control: str) -> None:
    with pytest.raises(MigrationFailed, match="ended the transaction it ran in"):
        migrated(target, settings, {"0001_a.sql": ENDS.format(control)})
    assert recorded(target, settings) == []


def test_another_transaction_of_the_same_kind_lacks_our_savepoint(
    target: Target, settings: Settings, unread: None
) -> None:
    require_refused(target, settings, "commit; begin deferrable")


def test_no_file_knows_the_name_of_our_savepoint(
    target: Target, settings: Settings, unread: None
) -> None:
    names = {transaction.savepoint_name() for _ in range(100)}
    assert len(names) == 100
    name = min(names).decode()
    require_refused(target, settings, f"commit; begin deferrable; savepoint {name}")


def test_another_transaction_with_our_savepoint_lacks_our_mark(
    target: Target, settings: Settings, unread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "savepoint_name", lambda: b"known")
    require_refused(target, settings, "commit; begin; savepoint known")


def test_the_server_must_find_as_many_statements_as_the_grammar(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_missed(migrations: Iterable[Migration]) -> tuple[Accepted, ...]:
        return tuple(Accepted(migration=m, statements=1) for m in migrations)

    monkeypatch.setattr(runner, "accept", one_missed)
    files = {"0001_a.sql": "create schema app; create table app.b ();"}
    with pytest.raises(MigrationFailed, match="the server ran 2 statements, and the file holds 1"):
        migrated(target, settings, files)
    assert recorded(target, settings) == []
    assert tables(target) == []


def test_a_file_does_not_begin_when_the_lock_was_lost_behind_the_one_before(
    target: Target, settings: Settings
) -> None:
    folder = folder_with(settings, {"0001_a.sql": "create schema app;", "0002_b.sql": "select 1;"})
    begun: list[str] = []

    def lose(event: Event) -> None:
        if isinstance(event, Started):
            begun.append(event.version)
        if isinstance(event, Finished):
            query(
                target,
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where "
                "application_name = 'headwater lock' and datname = current_database()",
            )

    with pytest.raises(LockBusy, match="another runner may have begun"):
        migrate(target, folder, settings, notify=lose)
    assert begun == ["0001_a"]


def test_what_another_runner_did_while_we_waited_is_seen(
    target: Target, settings: Settings
) -> None:
    folder = folder_with(settings, {"0001_a.sql": "create schema app; create table app.once ();"})
    waited: list[Event] = []

    with migration_lock(target, settings) as held:

        def finish_the_other(event: Event) -> None:
            if not waited:
                assert len(migrate(target, folder, settings, locked=True).results) == 1
                held.close()
            waited.append(event)

        assert migrate(target, folder, settings, notify=finish_the_other).results == ()
    assert waited
    assert recorded(target, settings) == ["0001_a"]


def test_a_row_that_the_lock_timeout_keeps_from_us_is_given_up(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = replace(transaction.PATIENCE, attempts=2, first_pause_s=0.01)
    monkeypatch.setattr(transaction, "PATIENCE", patience)
    first = {"0001_a.sql": "create schema app; create table app.t ();"}
    migrated(target, settings, first)
    with migration_lock(target, replace(settings, lock_key=1)) as other, other.transaction():
        other.execute("lock table app.t")
        with pytest.raises(LockBusy, match="2 times"):
            migrated(
                target,
                replace(settings, lock_timeout_ms=50),
                first | {"0002_b.sql": "alter table app.t add i int;"},
            )


# --- a COMMIT that travels with the next file -------------------------------------------------

REFUSES_AT_COMMIT = """
create schema app; create table app.t (i int);
create function app.no() returns trigger language plpgsql as 'begin raise exception $$no$$; end';
create constraint trigger no after insert on app.t deferrable initially deferred
    for each row execute function app.no();
"""


def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Listen to the messages that runs send for files."""
    messages: list[bytes] = []

    def listen(connection: Connection, message: bytes, **options: Any) -> Reply:
        messages.append(message)
        return send(connection, message, **options)

    monkeypatch.setattr(transaction, "send", listen)
    return messages


def test_the_next_file_brings_the_commit_of_the_one_before(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = sent(monkeypatch)
    files = {f"000{n}_a{n}.sql": f"create table a{n} ();" for n in range(1, 6)}
    assert len(migrated(target, settings, files)) == 5
    # (What a first file may leave is asked for behind its own COMMIT.)
    # The record of the last one is a message of its own: the schema is read in between.
    brought = [message.startswith(b"COMMIT") for message in messages]
    assert brought == [False, False, *[True] * 3, False]


def test_what_the_server_refuses_at_commit_is_told_of_its_own_file(
    target: Target, settings: Settings
) -> None:
    files = {
        "0001_a.sql": REFUSES_AT_COMMIT,
        "0002_b.sql": "create table app.b ();",
        "0003_c.sql": "insert into app.t values (1);",
        "0004_d.sql": "create table app.d ();",
    }
    with pytest.raises(MigrationFailed, match=r"^0003_c\.sql failed at its end: no$") as caught:
        migrated(target, settings, files)
    assert "the 2 before it stay applied" in caught.value.hint
    assert recorded(target, settings) == ["0001_a", "0002_b"]
    assert tables(target) == ["b", "t"]


def test_a_message_that_is_refused_as_a_whole_takes_nothing_from_the_file_before(
    target: Target, settings: Settings, unread: None
) -> None:
    # The server reads a message before it runs any of it.
    files = {f"000{n}_a{n}.sql": f"create table public.a{n} ();" for n in range(1, 4)}
    files["0004_bad.sql"] = "select ':';\ncreate tabel public.b ();"

    def unread_even_so(migrations: Iterable[Migration]) -> tuple[Accepted, ...]:
        return tuple(Accepted(migration=m, known_tokens="tok-1:x") for m in migrations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "accept", unread_even_so)
        patch.setattr(job, "traces_of", lambda *_: NO_TRACES)
        patch.setattr(Accepted, "script", Script(text="", statements=()))
        with pytest.raises(MigrationFailed, match="syntax error"):
            migrated(target, settings, files)
    assert recorded(target, settings) == ["0001_a1", "0002_a2", "0003_a3"]
    assert {"a1", "a2", "a3"} <= set(tables(target, "public"))


def test_a_file_is_told_to_be_applied_while_the_next_one_takes_its_time(
    target: Target, settings: Settings
) -> None:
    files = {f"000{n}_a{n}.sql": f"create table a{n} ();" for n in range(1, 4)}
    files["0004_slow.sql"] = "select pg_sleep(1.5);"
    told: dict[str, float] = {}

    def note(event: Event) -> None:
        if isinstance(event, Finished):
            told[event.result.version] = time.monotonic()

    results = migrate(target, folder_with(settings, files), settings, notify=note).results
    assert [result.version for result in results] == list(told)
    assert told["0004_slow"] - told["0003_a3"] > 0.5


def test_a_connection_that_goes_in_a_file_leaves_the_one_before_applied_and_told(
    target: Target, settings: Settings
) -> None:
    files = {f"000{n}_a{n}.sql": f"create table public.a{n} ();" for n in range(1, 4)}
    files["0004_dies.sql"] = "select pg_terminate_backend(pg_backend_pid());"
    told: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Finished):
            told.append(event.result.version)

    with pytest.raises(MigrationFailed, match=r"^0004_dies\.sql: the connection was lost"):
        migrate(target, folder_with(settings, files), settings, notify=note)
    assert told == recorded(target, settings) == ["0001_a1", "0002_a2", "0003_a3"]


def test_a_session_that_cannot_be_cleaned_is_replaced_and_the_file_runs(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FORGET", b"SELECT 1/0;\n")
    files = {f"000{n}_a{n}.sql": f"select {n};" for n in range(1, 5)}
    assert len(migrated(target, settings, files)) == 4
    assert len(recorded(target, settings)) == 4


def test_the_lock_must_be_held_when_a_commit_is_sent_ahead(
    target: Target, settings: Settings
) -> None:
    lose = (
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where "
        "application_name = 'headwater lock' and datname = current_database();"
    )
    files = {f"000{n}_a{n}.sql": f"create table public.a{n} ();" for n in range(1, 4)}
    files |= {"0004_loses.sql": lose, "0005_next.sql": "create table public.b ();"}
    with pytest.raises(LockBusy, match=r"^0004_loses\.sql: the lock was lost while it ran"):
        migrated(target, settings, files)
    assert recorded(target, settings) == ["0001_a1", "0002_a2", "0003_a3"]


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        pytest.param("client_encoding = 'LATIN1'", "é", id="encoding"),
        pytest.param("standard_conforming_strings = off", "a\\nb", id="strings"),
    ],
)
def test_how_one_file_has_texts_read_is_not_how_the_next_is_read(
    target: Target, settings: Settings, setting: str, text: str
) -> None:
    files = {
        "0001_a.sql": "create table public.texts (t text);",
        "0002_b.sql": "create table public.b ();",
        "0003_sets.sql": f"set {setting};",
        "0004_writes.sql": f"insert into public.texts values ('{text}');",
    }
    migrated(target, settings, files)
    assert query(target, "select t from public.texts") == [(text,)]


def test_a_large_file_does_not_keep_the_locks_of_the_one_before(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = sent(monkeypatch)
    files = {f"000{n}_a{n}.sql": f"create table a{n} ();" for n in range(1, 4)}
    files["0004_large.sql"] = f"select '{'x' * 100_000}';"
    assert len(migrated(target, settings, files)) == 4
    [large] = [message for message in messages if len(message) > 100_000]
    assert not large.startswith(b"COMMIT")


def test_what_only_the_server_does_not_understand_is_placed(
    target: Target, settings: Settings
) -> None:
    text = "select 1;\nselect 2 3;"
    file = Accepted(migration=Migration(version="0001_a", text=text, checksum=""), statements=2)
    # As if the grammar had taken it.
    statements = parse(text.replace(" 3", "")).statements
    file.__dict__.update(script=Script(text=text, statements=statements), tokens="tok-1:x")
    with sessions(target, None) as session, pytest.raises(MigrationFailed) as caught:
        transaction.run_in_transaction(Job(file=file, settings=settings), session)
    assert caught.value.message.startswith("0001_a.sql:2:10: syntax error")
