"""Running: the record is true, whatever file, session, other runners and server do."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from headwater.errors import (
    FilesError,
    HalfDone,
    HeadwaterError,
    HistoryError,
    LockBusy,
    MigrationFailed,
    OutcomeUnknown,
)
from headwater.files import grammar
from headwater.model import Event, Said, Target
from headwater.postgres import commit, transaction, wire
from headwater.postgres import run as runner
from headwater.postgres.connect import Connection, with_database
from headwater.postgres.patience import Patience
from headwater.postgres.run import migrate
from headwater.postgres.wire import Reply
from headwater.settings import Settings
from tests.conftest import FreshDatabase
from tests.support import (
    LEAK_SETUP,
    LEAKS,
    accepted_unread,
    folder_with,
    leaked,
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


@pytest.fixture(scope="module")
def begun(
    server: Target, fresh_database: FreshDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Target]:
    """A database with INIT, for tests of files that fail: each must leave it as it was."""
    with fresh_database() as url:
        target = with_database(server, str(conninfo_to_dict(url)["dbname"]), "test")
        root = tmp_path_factory.mktemp("begun")
        migrated(target, Settings(root=root, migrations=root), INIT)
        yield target


def failure_of(begun: Target, settings: Settings, text: str, verify: str = "") -> HeadwaterError:
    """Run a file that must fail behind INIT; it leaves nothing."""
    files = INIT | {"0002_fails.sql": text}
    if verify:
        files["0002_fails.verify.sql"] = verify
    with pytest.raises(HeadwaterError) as caught:
        migrated(begun, settings, files)
    assert recorded(begun, settings) == ["0001_init"]
    assert tables(begun) == ["t"]
    assert value(begun, "select count(*) from app.t") == 0
    return caught.value


# --- what is recorded -------------------------------------------------------------------------


def test_files_are_applied_in_order_and_recorded(target: Target, settings: Settings) -> None:
    files = INIT | {"20240101_more.sql": "create table app.more ();"}
    assert migrated(target, settings, files) == ["0001_init", "20240101_more"]
    assert recorded(target, settings) == ["0001_init", "20240101_more"]
    assert tables(target) == ["more", "t"]
    assert migrated(target, settings, files) == []


def test_the_record_says_what_was_run_by_whom_and_how(target: Target, settings: Settings) -> None:
    folder = folder_with(settings, {"0001_init.sql": "create schema app; select pg_sleep(0.05)"})
    migrate(target, folder, settings)
    [row] = query(
        target,
        "select checksum, tokens, applied_by = current_user, how, out_of_order, "
        "duration_ms between 50 and 60000, now() - applied_at < interval '1 minute' "
        "from schema_migrations",
    )
    [file] = runner.accept(folder.migrations)
    assert row == (
        file.migration.checksum,
        file.script.token_checksum,
        True,
        "run",
        False,
        True,
        True,
    )


def test_a_file_that_was_checked_is_not_parsed_again(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(The check has the parser under a name of its own.)"""
    files = INIT | {"0002_more.sql": "create table app.more ();\ndo 'begin end';\n"}
    monkeypatch.setattr(grammar, "parse", lambda _: pytest.fail("it was parsed again"))
    assert migrated(target, settings, files) == ["0001_init", "0002_more"]


def test_a_record_that_cannot_be_written_takes_the_whole_file_back(
    begun: Target, settings: Settings
) -> None:
    own_record = (
        "insert into public.schema_migrations (version, checksum) values ('0002_fails', '')"
    )
    error = failure_of(begun, settings, f"create table app.b (); {own_record}")
    assert "duplicate key" in error.message


def test_an_out_of_order_file_is_recorded_as_such(target: Target, settings: Settings) -> None:
    later = INIT | {"20240301_c.sql": "create table app.c ();"}
    migrated(target, settings, later)
    folder = folder_with(settings, later | {"20240201_b.sql": "create table app.b ();"})
    with pytest.raises(HistoryError):
        migrate(target, folder, settings)
    assert tables(target) == ["c", "t"]
    migrate(target, folder, settings, out_of_order=frozenset({"20240201_b"}))
    assert query(target, "select version from schema_migrations where out_of_order") == [
        ("20240201_b",)
    ]


def test_to_stops_behind_a_version(target: Target, settings: Settings) -> None:
    folder = folder_with(settings, INIT | {"0002_b.sql": "create table app.b ();"})
    migrate(target, folder, settings, to="0001_init")
    assert recorded(target, settings) == ["0001_init"]


def test_a_dry_run_changes_nothing_and_still_refuses_a_bad_file(
    target: Target, settings: Settings
) -> None:
    done = migrate(target, folder_with(settings, INIT), settings, dry_run=True)
    assert ([step.version for step in done.plan.steps], done.results) == (["0001_init"], ())
    assert value(target, "select to_regclass('schema_migrations') is null")
    with pytest.raises(FilesError):
        migrate(target, folder_with(settings, {"0001_a.sql": "commit"}), settings, dry_run=True)


def test_every_file_is_checked_before_the_first_one_runs(
    target: Target, settings: Settings
) -> None:
    with pytest.raises(FilesError) as caught:
        migrated(target, settings, INIT | {"0002_b.sql": "commit;", "0003_c.sql": "selec"})
    assert [finding.file for finding in caught.value.findings] == ["0002_b.sql", "0003_c.sql"]
    assert recorded(target, settings) == []
    assert tables(target) == []


def test_an_edited_file_stops_everything(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    edited = {"0001_init.sql": INIT["0001_init.sql"] + "select 1;"}
    with pytest.raises(HistoryError):
        migrated(target, settings, edited | {"0002_b.sql": "create table app.b ();"})
    assert tables(target) == ["t"]


# --- what the text may be ---------------------------------------------------------------------


TEXTS = {
    "no semicolon": "create table app.b (i int);\ninsert into app.b values (1)",
    "a comment at the end": "create table app.b (i int); insert into app.b values (1); -- end",
    "a comment instead of ;": "create table app.b (i int); insert into app.b values (1) -- no ;",
    "CRLF": "create table app.b (i int);\r\ninsert into app.b values (1);\r\n",
    "byte-order mark": "\ufeffcreate table app.b (i int); insert into app.b values (1);",
    "empty statements": ";create table app.b (i int);; insert into app.b values (1);;;",
    "nested comment": "create table app.b (i int); insert into app.b values (1) /* a /* ; */ b; */",
    "semicolons in strings": "create table app.b (i int); insert into app.b select length(';') "
    "where E'it\\'s' <> $a$;$a$",
    "DO block": "create table app.b (i int); do $$ begin insert into app.b values (1); end; $$",
    "BEGIN ATOMIC": "create table app.b (i int); create function app.f(i int) returns int "
    "language sql begin atomic select i; select i + 1; end; insert into app.b values (app.f(0))",
    "per cent signs": "create table app.b (i int); insert into app.b select 1 where '%s' like '%'",
    "long": "create table app.b (i int);" + " " * 1_000_000 + "insert into app.b values (1)",
}


def test_all_of_a_file_is_run(target: Target, settings: Settings) -> None:
    files = {
        f"{number + 2:04}_text{number}.sql": text.replace("app.b", f"app.b{number}")
        for number, text in enumerate(TEXTS.values())
    }
    migrated(target, settings, INIT | files)
    for number, name in enumerate(TEXTS):
        assert query(target, f"select i from app.b{number}") == [(1,)], name


def test_a_function_body_is_stored_without_carriage_returns(
    target: Target, settings: Settings
) -> None:
    body = "create function app.f() returns int language sql as $$\r\nselect 1\r\n$$;\r\n"
    migrated(target, settings, INIT | {"0002_f.sql": body})
    assert value(target, "select prosrc from pg_proc where proname = 'f'") == "\nselect 1\n"


# --- a failed file ----------------------------------------------------------------------------


def test_a_failed_file_leaves_no_record_and_no_object_and_the_earlier_ones_stay(
    target: Target, settings: Settings
) -> None:
    error = failure_of(target, settings, "create table app.b (); select 1 / 0")
    assert isinstance(error, MigrationFailed)
    assert "the 1 before it stay applied" in error.hint
    assert migrated(target, settings, INIT | {"0002_fails.sql": "create table app.b ()"}) == [
        "0002_fails"
    ]


def test_files_behind_a_failed_one_are_not_tried(target: Target, settings: Settings) -> None:
    with pytest.raises(MigrationFailed):
        migrated(
            target,
            settings,
            INIT | {"0002_b.sql": "select 1 / 0", "0003_c.sql": "create table app.c ()"},
        )
    assert tables(target) == ["t"]


NON_ASCII = "comment on table app.t is 'Größe, 大きさ, 😀';\n"

DO_BLOCK = """\
-- it's no quote
select 1;
do language plpgsql $x$
begin
  -- first
  perform 1;
  raise exception 'no' using hint = 'try', detail = 'why';
end $x$;
"""
FUNCTION = """\
create function app.f() returns int language plpgsql as $$
begin
return 1 / 0;
end $$;
"""
DEFERRED = "create table app.b (i int references app.t deferrable initially deferred);\n"

FAILURES = {
    "syntax that only the server refuses": (
        "select 1;\ncreate table app.b (\n  i int default x.y.z.a\n);",
        "0002_fails.sql:3:17: ",
        ["    i int default x.y.z.a", "                  ^"],
    ),
    "a missing column": (
        "select 1;\n\nselect i,\n       nothing\n  from app.t;",
        '0002_fails.sql:4:8: column "nothing" does not exist',
        ["         nothing", "         ^", "SQLSTATE 42703"],
    ),
    "a hint of the server": (
        "create table app.b (amount int); select amout from app.b",
        '0002_fails.sql:1:41: column "amout" does not exist',
        ["hint: Perhaps you meant to reference the column"],
    ),
    "a constraint, which has no position": (
        "select 1;\n\n  insert into app.t\n  values (1), (1);",
        "0002_fails.sql:3:3: duplicate key value violates unique constraint",
        ["    insert into app.t", "    ^", "detail: Key (i)=(1) already exists.", "SQLSTATE 23505"],
    ),
    "behind non-ASCII text": (
        NON_ASCII + "select 'ß😀', nothing from app.t;",
        '0002_fails.sql:2:14: column "nothing" does not exist',
        ["  select 'ß😀', nothing from app.t;", "               ^"],
    ),
    "a tab before it": (
        "select\n\t\tnothing;",
        '0002_fails.sql:2:3: column "nothing" does not exist',
        ["  \t\tnothing;", "  \t\t^"],
    ),
    "a DO block": (
        DO_BLOCK,
        "0002_fails.sql:7:3: no",
        ["    raise exception 'no'", "    ^", "detail: why", "hint: try"],
    ),
    "a query in a DO block": (
        "do '\nbegin\n  perform nothing;\nend';",
        '0002_fails.sql:3:3: column "nothing" does not exist',
        ["    perform nothing;"],
    ),
    "the grammar of a DO block": (
        "select 1;\ndo $$\nbegin\n  perfrom 1;\nend $$;",
        "0002_fails.sql:4:3: syntax error",
        ["    perfrom 1;", "    ^"],
    ),
    "inside a function": (
        FUNCTION + "select app.f();",
        "0002_fails.sql:5:1: division by zero",
        ["  select app.f();", "PL/pgSQL function app.f() line 3 at RETURN"],
    ),
    "a deferred constraint": (
        DEFERRED + "insert into app.b values (7);",
        "0002_fails.sql failed at its end: ",
        ["detail: Key (i)=(7) is not present", "SQLSTATE 23503"],
    ),
    "the last of many statements": (
        "select 1;\n" * 50 + "select nothing",
        "0002_fails.sql:51:8: ",
        ["  select nothing"],
    ),
    "a line behind CRLF": (
        "select 1;\r\nselect nothing;\r\n",
        "0002_fails.sql:2:8: ",
        ["  select nothing;\n         ^"],
    ),
}


@pytest.mark.parametrize(
    "verify", ["", 'select true as "fine"'], ids=["alone", "with a post-condition"]
)
@pytest.mark.parametrize("name", FAILURES)
def test_an_error_shows_the_place_the_line_and_the_words_of_the_server(
    begun: Target, settings: Settings, name: str, verify: str
) -> None:
    text, message, words = FAILURES[name]
    error = failure_of(begun, settings, text, verify)
    assert error.message.startswith(message)
    for word in words:
        assert word in error.detail
    assert error.exit_code == 3
    assert isinstance(error.__cause__, psycopg.Error)


# --- session state ----------------------------------------------------------------------------


def test_nothing_of_one_session_reaches_the_next_file(target: Target, settings: Settings) -> None:
    migrated(target, settings, leaking_files())
    assert leaked(target) == []


def test_the_probe_of_each_leak_sees_it_in_the_same_session(target: Target) -> None:
    query(target, LEAK_SETUP + "grant usage on schema app to public")
    unseen = []
    for leak, (statement, probe) in LEAKS.items():
        with psycopg.connect(target.conninfo) as connection:
            connection.execute(statement.encode())
            if leak != "local setting":
                connection.commit()
            if connection.execute(f"select {probe}".encode()).fetchone() != (True,):
                unseen.append(leak)
    assert unseen == []
    assert len(LEAKS) > 19  # as many as the museum's matrix has


def test_the_record_and_the_post_condition_do_not_care_what_the_file_set(
    target: Target, settings: Settings
) -> None:
    query(target, "create table seen (who text); revoke all on seen from public")
    verify = """select count(*) = 0 and 'ä' = U&'\\00e4' as "nothing is seen: 大" from seen"""
    names = ["role", "session authorization", "search_path", "client_encoding"]
    files = {"0000_setup.sql": LEAK_SETUP}
    for number, name in enumerate(names, start=1):
        files[f"{number:04}_leak{number}.sql"] = LEAKS[name][0]
        files[f"{number:04}_leak{number}.verify.sql"] = verify
    migrated(target, settings, files)
    assert query(
        target, "select count(*) from schema_migrations where applied_by = current_user"
    ) == [(5,)]


# --- the savepoint guard ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "control",
    [
        "commit",
        "rollback",
        "end",
        "commit; begin",
        "rollback; begin",
        "commit and chain",
        "rollback and chain",
        "commit; begin; savepoint headwater_0123456789abcdef",
    ],
)
def test_a_file_that_ends_its_transaction_is_never_recorded(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch, control: str
) -> None:
    monkeypatch.setattr(runner, "accept", accepted_unread)
    for verify in ({}, {"0001_a.verify.sql": 'select true as "fine"'}):
        text = f"create table if not exists a (); {control}; create table if not exists b ();"
        with pytest.raises(MigrationFailed, match="ended the transaction it ran in") as caught:
            migrated(target, settings, {"0001_a.sql": text} | verify)
        assert recorded(target, settings) == []
        assert "may have stayed" in caught.value.hint


def test_a_procedure_cannot_commit_either(begun: Target, settings: Settings) -> None:
    procedure = "create procedure app.p() language plpgsql as $$ begin commit; end $$;"
    error = failure_of(begun, settings, f"{procedure} create table app.b (); call app.p()")
    assert "invalid transaction termination" in error.message


# --- several runners --------------------------------------------------------------------------


def test_runners_at_once_apply_each_version_once_and_all_succeed(
    target: Target, settings: Settings
) -> None:
    folder = folder_with(
        settings,
        INIT
        | {
            f"{n:04}_step.sql".replace("step", f"step{n}"): f"insert into app.t values ({n});"
            f"select pg_sleep(0.01)"
            for n in range(2, 6)
        },
    )
    start = threading.Barrier(4)

    def one(_: int) -> list[str]:
        start.wait()
        return [result.version for result in migrate(target, folder, settings).results]

    with ThreadPoolExecutor(4) as pool:
        done = sorted(version for versions in pool.map(one, range(4)) for version in versions)
    assert done == recorded(target, settings)
    assert len(done) == 5
    assert query(target, "select i from app.t order by i") == [(2,), (3,), (4,), (5,)]


# --- locks of tables --------------------------------------------------------------------------


def impatient(monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
    patience = Patience(attempts=attempts, first_pause_s=0.02, longest_pause_s=0.1)
    monkeypatch.setattr(transaction, "PATIENCE", patience)


ALTER = {"0002_alter.sql": "create table app.b (); alter table app.t add j int;"}


@pytest.mark.parametrize(
    "verify", ["", 'select true as "fine"'], ids=["alone", "with a post-condition"]
)
def test_a_file_is_tried_again_while_its_lock_is_not_to_be_had(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch, verify: str
) -> None:
    migrated(target, settings, INIT)
    impatient(monkeypatch, 20)
    files = INIT | ALTER | ({"0002_alter.verify.sql": verify} if verify else {})
    folder = folder_with(settings, files)
    said: list[str] = []

    with session(target) as other:
        other.execute("select * from app.t")

        def listen(event: Event) -> None:
            if isinstance(event, Said):
                said.append(event.message)
                if len(said) == 2:
                    other.rollback()

        migrate(target, folder, replace(settings, lock_timeout_ms=50), notify=listen)
        holder = other.info.backend_pid
    assert len(said) == 2
    assert "canceling statement due to lock timeout" in said[0]
    assert f"process {holder} (somebody else as " in said[0]
    assert "select * from app.t" in said[0]
    assert recorded(target, settings) == ["0001_init", "0002_alter"]


def test_it_gives_up_after_so_many_times_and_nothing_changed(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(target, settings, INIT)
    impatient(monkeypatch, 3)
    folder = folder_with(settings, INIT | ALTER)
    with session(target) as other:
        other.execute("select * from app.t")
        with pytest.raises(LockBusy, match="3 times") as caught:
            migrate(target, folder, replace(settings, lock_timeout_ms=50))
    assert caught.value.exit_code == 5
    assert "(somebody else as " in caught.value.detail
    assert recorded(target, settings) == ["0001_init"]
    assert tables(target) == ["t"]


def test_the_lock_timeout_of_the_header_counts(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(target, settings, INIT)
    impatient(monkeypatch, 1)
    files = INIT | {"0002_alter.sql": "-- headwater: lock-timeout 30ms\n" + ALTER["0002_alter.sql"]}
    folder = folder_with(settings, files)
    with session(target) as other:
        other.execute("select * from app.t")
        with pytest.raises(LockBusy, match="no lock within 30 ms"):
            migrate(target, folder, replace(settings, lock_timeout_ms=60_000))


def test_a_deadlock_is_tried_again(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(target, settings, INIT)
    query(target, "create table app.b (i int)")
    impatient(monkeypatch, 3)
    # Whoever notices is the victim: the other one, whose timeout is a second, must wait first. (The
    # second time it is not there any more.)
    waits = "exists (select from pg_locks where relation = 'app.t'::regclass and not granted)"
    is_there = "exists (select from pg_locks where relation = 'app.b'::regclass and granted)"
    text = (
        "set deadlock_timeout = '10ms';lock table app.t;"
        f"do $$ begin while {is_there} and not {waits} loop perform pg_sleep(0.01); end loop; "
        "end $$;lock table app.b;"
    )
    folder = folder_with(settings, INIT | {"0002_locks.sql": text})
    said: list[Event] = []
    with session(target) as other:
        other.execute("lock table app.b")

        def deadlock() -> None:
            until(lambda: running_sessions(target, "loop perform"))
            other.execute("lock table app.t")
            other.rollback()

        thread = threading.Thread(target=deadlock)
        thread.start()
        migrate(target, folder, replace(settings, lock_timeout_ms=20_000), notify=said.append)
        thread.join()
    assert any(isinstance(e, Said) and "deadlock detected" in e.message for e in said)
    assert recorded(target, settings) == ["0001_init", "0002_locks"]


# --- post-conditions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('false as "b is right"', "does not hold (false)"),
        ('null::boolean as "b is right"', "does not hold (null)"),
        ('true as "b is right" where false', "does not hold (no row)"),
        ('i = i as "b is right" from (values (1), (2)) v(i)', "does not hold (more than one row)"),
        ('1 / 0 = 1 as "b is right"', "could not be asked: division by zero"),
        ("text 'yes' as \"b is right\"", "does not hold ('yes' is no boolean)"),
        ('count(*) as "b is right" from app.b', "does not hold (1 is no boolean)"),
    ],
)
def test_a_post_condition_that_does_not_hold_rolls_back_and_is_named(
    begun: Target, settings: Settings, answer: str, words: str
) -> None:
    verify = f'select true as "first";\nselect {answer}'
    error = failure_of(begun, settings, "create table app.b as select 1 as i", verify)
    assert isinstance(error, MigrationFailed)
    assert error.message == f"0002_fails.verify.sql:2: “b is right” {words}"


def test_a_post_condition_sees_what_its_file_did(target: Target, settings: Settings) -> None:
    files = INIT | {
        "0002_b.sql": "insert into app.t values (1)",
        "0002_b.verify.sql": 'select count(*) = 1 as "one" from app.t',
    }
    assert migrated(target, settings, files) == ["0001_init", "0002_b"]


# --- no-transaction files ---------------------------------------------------------------------

NO_TRANSACTION = "-- headwater: no-transaction\n"


def steps(target: Target) -> list[tuple[int, str]]:
    return [
        (step, state)
        for step, state in query(
            target, "select step, state from schema_migrations_steps order by step"
        )
    ]


def stopped(target: Target, settings: Settings, text: str, verify: str = "") -> HeadwaterError:
    files = INIT | {"0002_n.sql": NO_TRANSACTION + text}
    if verify:
        files["0002_n.verify.sql"] = verify
    with pytest.raises(HeadwaterError) as caught:
        migrated(target, settings, files)
    assert recorded(target, settings) == ["0001_init"]
    return caught.value


def test_an_index_is_built_concurrently_while_we_hold_the_lock(
    target: Target, settings: Settings
) -> None:
    text = "create index concurrently t_i on app.t (i);\nvacuum app.t;"
    migrated(target, settings, INIT | {"0002_n.sql": NO_TRANSACTION + text})
    assert value(target, "select indisvalid from pg_index where indexrelid = 'app.t_i'::regclass")
    assert recorded(target, settings) == ["0001_init", "0002_n"]
    assert steps(target) == []


def test_two_runners_and_one_concurrent_index(target: Target, settings: Settings) -> None:
    text = NO_TRANSACTION + "select pg_sleep(0.2); create index concurrently t_i on app.t (i);"
    folder = folder_with(settings, INIT | {"0002_n.sql": text})
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(migrate, target, folder, settings) for _ in range(2)]
    assert sorted(len(run.result().results) for run in runs) == [0, 2]
    assert value(target, "select indisvalid from pg_index where indexrelid = 'app.t_i'::regclass")


def test_it_stops_at_the_failed_statement_and_goes_on_there(
    target: Target, settings: Settings
) -> None:
    error = stopped(
        target, settings, "create table app.a ();\nselect nothing;\ncreate table app.c ();"
    )
    assert isinstance(error, HalfDone)
    assert error.exit_code == 4
    assert error.message.startswith('0002_n.sql:3:8: column "nothing" does not exist')
    assert "  select nothing;\n         ^" in error.detail
    assert "statements done: 1 of 3; failed: 2; not tried: 1" in error.detail
    assert tables(target) == ["a", "t"]
    assert steps(target) == [(1, "done")]

    mended = "create table app.a ();\nselect 1;\ncreate table app.c ();"
    assert migrated(target, settings, INIT | {"0002_n.sql": NO_TRANSACTION + mended}) == ["0002_n"]
    assert tables(target) == ["a", "c", "t"]
    assert recorded(target, settings) == ["0001_init", "0002_n"]
    assert steps(target) == []


@pytest.mark.parametrize(
    ("edited", "words"),
    [
        ("create table app.other (); select 1", "statement 1 was edited after it had run"),
        ("select 1; create table app.a ()", "statement 1 was edited after it had run"),
        ("select 1", "statement 1 was edited after it had run"),
        ("create table app.a ()", "statement 2 was removed after it had run"),
    ],
    ids=["edited", "another before it", "another alone", "the last one removed"],
)
def test_an_edit_of_what_already_ran_is_refused(
    target: Target, settings: Settings, edited: str, words: str
) -> None:
    stopped(target, settings, "create table app.a (); create table app.b (); select nothing")
    error = stopped(target, settings, edited)
    assert isinstance(error, FilesError)
    assert words in error.message
    assert tables(target) == ["a", "b", "t"]


def test_a_comment_on_what_already_ran_is_no_edit(target: Target, settings: Settings) -> None:
    stopped(target, settings, "create table app.a (); select nothing")
    text = NO_TRANSACTION + "create  table app.a /* why */ (); select 1"
    assert migrated(target, settings, INIT | {"0002_n.sql": text}) == ["0002_n"]


def test_half_a_file_cannot_become_transactional(target: Target, settings: Settings) -> None:
    stopped(target, settings, "create table app.a (); select nothing")
    with pytest.raises(HistoryError) as caught:
        migrated(target, settings, INIT | {"0002_n.sql": "create table app.a ();"})
    assert "ran without a transaction" in caught.value.findings[0].message


def test_what_a_file_sets_for_its_session_is_set_again_when_it_goes_on(
    target: Target, settings: Settings
) -> None:
    text = "set search_path = app; create table a (); select {}; create table c ();"
    stopped(target, settings, text.format("nothing"))
    migrated(target, settings, INIT | {"0002_n.sql": NO_TRANSACTION + text.format(1)})
    assert tables(target) == ["a", "c", "t"]


def test_a_statement_whose_end_nobody_saw_is_not_run_again(
    target: Target, settings: Settings
) -> None:
    block = "begin commit; perform pg_terminate_backend(pg_backend_pid()); end"
    text = f"create table app.a (); do $$ {block} $$;"
    error = stopped(target, settings, text)
    assert isinstance(error, OutcomeUnknown)
    assert steps(target) == [(1, "done"), (2, "started")]
    again = stopped(target, settings, text)
    assert isinstance(again, OutcomeUnknown)
    assert again.exit_code == 6
    assert "statement 2 was started" in again.message

    [done, undone] = re.findall('--command "(.*)"', again.detail)
    assert undone.startswith("DELETE FROM public.schema_migrations_steps ")
    query(target, done)
    assert migrated(target, settings, INIT | {"0002_n.sql": NO_TRANSACTION + text}) == ["0002_n"]


def test_a_block_that_commits_and_then_fails_is_told_with_both_ways_out(
    target: Target, settings: Settings
) -> None:
    block = "begin create table app.a (); commit; raise 'too late'; end"
    error = stopped(target, settings, f"do $$ {block} $$;")
    assert isinstance(error, HalfDone)
    assert "too late" in error.message
    [done, undone] = re.findall('--command "(.*)"', error.detail)
    assert (done.split()[0], undone.split()[0]) == ("UPDATE", "DELETE")
    again = stopped(target, settings, f"do $$ {block} $$;")
    assert isinstance(again, OutcomeUnknown)

    query(target, undone)
    mended = NO_TRANSACTION + "do $$ begin commit; end $$;"
    assert migrated(target, settings, INIT | {"0002_n.sql": mended}) == ["0002_n"]


def test_a_post_condition_behind_a_no_transaction_file_is_asked_again(
    target: Target, settings: Settings
) -> None:
    verify = 'select count(*) = 1 as "one" from app.t'
    error = stopped(target, settings, "create table app.a ();", verify)
    assert isinstance(error, HalfDone)
    assert error.message == "0002_n.verify.sql:1: “one” does not hold (false)"
    assert "rolled back" not in error.hint + error.detail
    assert tables(target) == ["a", "t"]
    query(target, "insert into app.t values (1)")
    folder = INIT | {
        "0002_n.sql": NO_TRANSACTION + "create table app.a ();",
        "0002_n.verify.sql": verify,
    }
    assert migrated(target, settings, folder) == ["0002_n"]


def test_the_timeouts_of_the_role_do_not_reach_lock_and_journal(
    target: Target, settings: Settings
) -> None:
    query(target, f"alter database {target.database} set idle_session_timeout = '500ms'")
    text = NO_TRANSACTION + "create table app.a (); select pg_sleep(1); create table app.b ();"
    assert migrated(target, settings, INIT | {"0002_n.sql": text}) == ["0001_init", "0002_n"]


# --- lost connections -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verify", ["", 'select true as "fine"'], ids=["alone", "with a post-condition"]
)
def test_a_connection_that_is_killed_in_the_middle_means_not_applied(
    target: Target, settings: Settings, verify: str
) -> None:
    files = INIT | {
        "0002_dies.sql": "create table app.b (); do $$ begin if to_regclass('kill') is not null "
        "then perform pg_terminate_backend(pg_backend_pid()); end if; end $$;"
    }
    if verify:
        files["0002_dies.verify.sql"] = verify
    query(target, "create table kill ()")
    with pytest.raises(MigrationFailed, match="connection was lost; the file was not applied"):
        migrated(target, settings, files)
    assert recorded(target, settings) == ["0001_init"]
    assert tables(target) == ["t"]
    query(target, "drop table kill")
    assert migrated(target, settings, files) == ["0002_dies"]


Send = Callable[[Connection, bytes], Reply]


@pytest.fixture
def at_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Send], None]:
    """Have the first COMMIT go through a function of the test, which may lose its answer."""
    send = wire.send
    met: list[bytes] = []

    def replace_commit(instead: Send) -> None:
        def sent(connection: Connection, message: bytes, **options: Any) -> Reply:
            if message == b"COMMIT" and not met:
                met.append(message)
                return instead(connection, message)
            return send(connection, message, **options)

        monkeypatch.setattr(commit, "send", sent)

    return replace_commit


def cut(connection: Connection, _message: bytes = b"") -> Reply:
    """Cut the cable: the server sees that its client is gone."""
    connection.close()
    return Reply(error=psycopg.OperationalError("the cable was cut"))


VERIFIES = pytest.mark.parametrize(
    "verify", ["", 'select true as "fine"'], ids=["alone", "with a post-condition"]
)


@VERIFIES
def test_a_commit_whose_answer_was_lost_counts_as_applied_and_the_run_goes_on(
    target: Target, settings: Settings, at_commit: Callable[[Send], None], verify: str
) -> None:
    migrated(target, settings, INIT)
    at_commit(lambda connection, message: (wire.send(connection, message), cut(connection))[1])
    files = INIT | {"0002_b.sql": "create table app.b ();", "0003_c.sql": "create table app.c ();"}
    if verify:
        files["0002_b.verify.sql"] = verify
    assert migrated(target, settings, files) == ["0002_b", "0003_c"]
    assert recorded(target, settings) == ["0001_init", "0002_b", "0003_c"]


@VERIFIES
def test_a_commit_that_never_arrived_means_not_applied(
    target: Target, settings: Settings, at_commit: Callable[[Send], None], verify: str
) -> None:
    migrated(target, settings, INIT)
    at_commit(cut)
    files = INIT | {"0002_b.sql": "create table app.b ();"}
    if verify:
        files["0002_b.verify.sql"] = verify
    with pytest.raises(MigrationFailed, match="connection was lost; the file was not applied"):
        migrated(target, settings, files)
    assert recorded(target, settings) == ["0001_init"]
    assert migrated(target, settings, files) == ["0002_b"]


def test_a_commit_that_lands_while_the_server_is_asked_is_not_called_a_failure(
    target: Target, settings: Settings, at_commit: Callable[[Send], None]
) -> None:
    migrated(target, settings, INIT)
    late: list[threading.Timer] = []

    def arrives_late(connection: Connection, message: bytes) -> Reply:
        # Another connection object for the same socket: ours is closed by whoever was told.
        descriptor = os.dup(connection.fileno())

        def arrive() -> None:
            os.write(descriptor, b"Q" + (4 + len(message) + 1).to_bytes(4, "big") + message + b"\0")
            os.close(descriptor)

        late.append(threading.Timer(0.6, arrive))
        late[0].start()
        keep_quiet(connection)
        return Reply(error=psycopg.OperationalError("the cable was cut"))

    def keep_quiet(connection: Connection) -> None:
        # libpq says goodbye when it closes: that must not reach the server here.
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, connection.fileno())
        os.close(nowhere)

    at_commit(arrives_late)
    files = INIT | {"0002_b.sql": "create table app.b ();"}
    assert migrated(target, settings, files) == ["0002_b"]
    assert late
    assert tables(target) == ["b", "t"]


def test_a_server_that_cannot_be_asked_means_unknown(
    target: Target,
    settings: Settings,
    at_commit: Callable[[Send], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    migrated(target, settings, INIT)
    monkeypatch.setattr(commit, "_UNREACHABLE_S", 0.5)

    def cut_for_good(connection: Connection, message: bytes) -> Reply:
        query(
            with_database(target, "postgres", "test"),
            f"alter database {target.database} allow_connections false",
        )
        return cut(connection)

    at_commit(cut_for_good)
    files = INIT | {"0002_b.sql": "create table app.b ();"}
    with pytest.raises(OutcomeUnknown) as caught:
        migrated(target, settings, files)
    assert caught.value.exit_code == 6
    assert "invoke status" in caught.value.hint
    query(
        with_database(target, "postgres", "test"),
        f"alter database {target.database} allow_connections true",
    )


def test_ctrl_c_cancels_the_statement_and_rolls_back(target: Target, settings: Settings) -> None:
    files = INIT | {"0002_slow.sql": "create table app.b (); select pg_sleep(30), 'slow';"}

    def interrupt() -> None:
        until(lambda: running_sessions(target, "pg_sleep(30)"))
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            migrated(target, settings, files)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert running_sessions(target, "pg_sleep(30)") == []
    assert recorded(target, settings) == ["0001_init"]
    assert tables(target) == ["t"]


def test_a_file_that_raises_the_code_of_a_lost_session_has_only_failed(
    target: Target, settings: Settings
) -> None:
    text = "do $$ begin raise 'like a shutdown' using errcode = '57P01'; end $$"
    with pytest.raises(MigrationFailed, match="like a shutdown"):
        migrated(target, settings, {"0001_a.sql": text})
