"""Seeding: all seeds or none, each as a migration runs, and only where rows are nobody's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headwater.errors import FilesError, LockBusy, SeedFailed, UnsafeTarget
from headwater.files.seeds import read_seeds
from headwater.model import Event, Said, Started, Target
from headwater.outcomes import Seeded
from headwater.postgres import seeding
from headwater.postgres.databases import scratch_database
from headwater.postgres.patience import Patience
from headwater.postgres.run import migrate
from headwater.postgres.seeding import apply_accepted, apply_seeds, require_seedable
from headwater.settings import Settings
from tests.support import folder_with, query, session, value, write_files

SCHEMA = {
    "0001_init.sql": """\
create schema app;
create table app.t (i int primary key);
create table app.child (i int references app.t deferrable initially deferred);
"""
}
ONE = "insert into app.t values (1) on conflict do nothing;\n"
PYTHON = "def seed(connection):\n    connection.execute('insert into app.t values (2)')\n"


@pytest.fixture
def built(target: Target, settings: Settings) -> Target:
    """A disposable database with the tables, and without rows."""
    migrate(target, folder_with(settings, SCHEMA), settings)
    return target


def seeded(target: Target, settings: Settings, files: dict[str, str]) -> Seeded:
    write_files(settings.root / "seeds", files)
    return apply_seeds(target, read_seeds(settings), settings)


def failed(target: Target, settings: Settings, files: dict[str, str]) -> SeedFailed:
    """Seed with files of which one fails; no row is left."""
    with pytest.raises(SeedFailed) as caught:
        seeded(target, settings, {"10_fine.sql": ONE} | files)
    assert rows(target) == []
    assert caught.value.exit_code == 3
    return caught.value


def rows(target: Target) -> list[int]:
    return [row[0] for row in query(target, "select i from app.t order by 1")]


def body(*lines: str) -> str:
    return "\n    ".join(["def seed(connection):", *lines, ""])


# --- all or nothing ---------------------------------------------------------------------------


def test_every_seed_runs_in_order_and_is_told(built: Target, settings: Settings) -> None:
    write_files(settings.root / "seeds", {"20_b.py": PYTHON, "10_a.sql": ONE})
    events = list[Event]()
    done = apply_seeds(built, read_seeds(settings), settings, notify=events.append)
    assert [(result.name, result.rows) for result in done.results] == [
        ("10_a.sql", 1),
        ("20_b.py", None),
    ]
    assert rows(built) == [1, 2]
    assert [event.version for event in events if isinstance(event, Started)] == [
        "seeds/10_a.sql",
        "seeds/20_b.py",
    ]
    assert [event.message.split(" in ")[0] for event in events if isinstance(event, Said)] == [
        "ran seeds/10_a.sql",
        "ran seeds/20_b.py",
    ]


def test_a_result_says_which_lines_wrote(built: Target, settings: Settings) -> None:
    text = f"select 1;\n{ONE}delete from app.t where i = 7;\nupdate app.t set i = 3;\n"
    [result] = seeded(built, settings, {"10_a.sql": text}).results
    assert (result.rows, result.wrote) == (2, {"t": 2})


def test_a_statement_that_fails_leaves_no_row_of_any_seed(
    built: Target, settings: Settings
) -> None:
    text = "-- é\ninsert into app.t values (5);\ninsert into app.t\n    select nothing;"
    error = failed(built, settings, {"20_b.sql": text})
    assert error.message == 'seeds/20_b.sql:4:12: column "nothing" does not exist'
    assert error.detail.splitlines()[:2] == ["      select nothing;", "             ^"]
    assert "SQLSTATE 42703" in error.detail
    assert (error.finding.file, error.finding.line) == ("seeds/20_b.sql", 4)


def test_a_failure_without_a_place_has_a_line(built: Target, settings: Settings) -> None:
    twice = "insert into app.t values (5);\ninsert into app.t values (5);"
    for text, line in {
        twice: 2,
        "select 1;\ndo $$\nbegin\n  raise 'no';\nend $$;": 4,
        "select 1;\nselect 'x'::app.nothing;": 2,
    }.items():
        assert failed(built, settings, {"20_b.sql": text}).finding.line == line


def test_what_a_seed_defers_is_asked_at_its_own_end(built: Target, settings: Settings) -> None:
    child = {"20_b.sql": "insert into app.child values (9);", "30_c.sql": "select 1;"}
    error = failed(built, settings, child)
    assert error.message.startswith("seeds/20_b.sql:1: it failed at its end: insert or update")


def test_no_file_runs_when_one_is_refused(built: Target, settings: Settings) -> None:
    with pytest.raises(FilesError):
        seeded(built, settings, {"10_a.sql": ONE, "20_b.sql": "commit;"})
    assert rows(built) == []


# --- the session ------------------------------------------------------------------------------


def test_a_seed_meets_nothing_that_an_earlier_one_has_left(
    built: Target, settings: Settings
) -> None:
    leaves = "set search_path = app; set app.x = 'y'; create temp table t as select 1 as i;\n"
    meets = """\
do $$ begin
    assert to_regclass('t') is null;
    assert coalesce(current_setting('app.x', true), '') = '';
    assert current_setting('row_security') = 'off' and current_setting('timezone') = 'UTC';
end $$;
"""
    python = body("connection.execute(\"set app.x = 'y'; create temp table t (i int)\")")
    seeded(
        built,
        settings,
        {"10.sql": leaves, "20.sql": meets, "30.py": python, "40.sql": meets},
    )


def test_a_lock_that_is_not_to_be_had_leaves_no_row(
    built: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        seeding, "PATIENCE", Patience(attempts=2, first_pause_s=0.01, longest_pause_s=0.01)
    )
    quick = replace(settings, lock_timeout_ms=50)
    python = body("connection.execute('lock table app.child')")
    for name, text in {"20_b.sql": "insert into app.child values (1);", "20_c.py": python}.items():
        with session(built) as other:
            other.execute("lock table app.child")
            with pytest.raises(LockBusy, match="nothing was seeded") as caught:
                seeded(built, quick, {"10_a.sql": ONE, name: text})
            assert "somebody else" in caught.value.detail
        assert rows(built) == []
        (settings.root / "seeds" / name).unlink()


# --- Python -----------------------------------------------------------------------------------


def test_an_exception_is_told_at_its_line(built: Target, settings: Settings) -> None:
    text = body("connection.execute('insert into app.t values (5)')", "é = {}['key']")
    error = failed(built, settings, {"20_b.py": text})
    assert error.message == "seeds/20_b.py:3:9: KeyError: 'key'"
    assert error.detail.splitlines() == ["      é = {}['key']", "          ^"]


def test_an_error_of_the_server_is_told_at_the_line_that_ran_it(
    built: Target, settings: Settings
) -> None:
    helper = "def write(connection):\n    connection.execute('insert into app.t select nothing')\n"
    text = "import _writing\n" + body("_writing.write(connection)")
    error = failed(built, settings, {"20_b.py": text, "_writing.py": helper})
    assert error.message == 'seeds/_writing.py:2:5: column "nothing" does not exist'
    assert "SQLSTATE 42703" in error.detail


ENDS = ":1: it ended the transaction"
WRONG = (
    (body("connection.commit()"), ":2:5: it does not commit"),
    (body("connection.rollback()"), ":2:5: it does not roll back"),
    (body("with connection:", "    pass"), ":2:5: it does not commit"),
    (body("connection.close()"), ":2:5: it does not close"),
    (body("connection.execute('commit')"), ":2:5: it ended the transaction"),
    (body("connection.execute('commit; begin')"), ":2:5: it ended the transaction"),
    (body("connection.execute('rollback')"), ENDS),
    (body("connection.execute('rollback')", "connection.execute('select 1')"), ENDS),
    (body("connection.execute('rollback; begin')"), ENDS),
    (
        body("try:", "    connection.execute('select 1 / 0')", "except Exception: pass"),
        ":1: an error of the server was caught",
    ),
    (
        body(
            "global kept",
            "kept = connection.cursor().copy('copy app.t from stdin')",
            "kept.__enter__()",
        ),
        ":1: it left a COPY or a pipeline open",
    ),
    (
        body("global kept", "kept = connection.pipeline()", "kept.__enter__()"),
        ":1: it left a COPY or a pipeline open",
    ),
    (body("connection.execute('select pg_terminate_backend(pg_backend_pid())')"), ":2:5: "),
    (body("raise SystemExit('enough')"), ":2:5: SystemExit: enough"),
    (body("yield connection"), ":1: seed gives a generator"),
    (body("return 1"), ":1: seed gives a int"),
    ("import not_there\n" + body("pass"), ":1:1: ModuleNotFoundError"),
    (body("connection.execute('insert into app.child values (9)')"), ":1: it failed at its end"),
)


def test_a_python_seed_that_does_what_it_must_not_leaves_no_row(
    built: Target, settings: Settings
) -> None:
    for text, words in WRONG:
        error = failed(built, settings, {"20_b.py": text})
        assert error.message.startswith(f"seeds/20_b.py{words}"), (text, error.message)


def test_a_part_of_a_python_seed_may_fail(built: Target, settings: Settings) -> None:
    text = body(
        "try:",
        "    with connection.transaction():",
        "        connection.execute('select 1 / 0')",
        "except Exception:",
        "    connection.execute('insert into app.t values (2)')",
    )
    seeded(built, settings, {"20_b.py": text})
    assert rows(built) == [2]


def test_rows_may_be_copied_by_a_python_seed(built: Target, settings: Settings) -> None:
    text = body(
        "with connection.cursor().copy('copy app.t from stdin') as copy:",
        "    copy.write_row((4,))",
    )
    seeded(built, settings, {"20_b.py": text})
    assert rows(built) == [4]


def test_what_a_python_seed_prints_is_no_output_of_the_task(
    built: Target, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    printing = "import os; print('a row', flush=True); os.system('echo a program')"
    seeded(built, settings, {"20_b.py": body(printing)})
    print("a result", flush=True)
    captured = capfd.readouterr()
    assert captured.out == "a result\n"
    assert captured.err == "a row\na program\n"


# --- where ------------------------------------------------------------------------------------


def test_seeds_run_on_a_scratch_database(
    server: Target, settings: Settings, tmp_path: Path
) -> None:
    folder = folder_with(settings, SCHEMA)
    with scratch_database(server) as scratch:
        migrate(scratch, folder, settings)
        seeded(scratch, settings, {"10_a.sql": ONE})
        assert rows(scratch) == [1]


def test_a_database_that_is_not_disposable_is_not_seeded(built: Target, settings: Settings) -> None:
    query(built, f'comment on database "{built.database}" is null')
    with pytest.raises(UnsafeTarget, match="not marked as disposable") as caught:
        seeded(built, settings, {"10_a.sql": ONE})
    assert "invoke db.disposable" in caught.value.hint
    with pytest.raises(UnsafeTarget):
        require_seedable(built, read_seeds(settings))
    assert rows(built) == []


def test_who_has_asked_before_it_migrates_need_not_ask_again(
    target: Target, settings: Settings
) -> None:
    """An empty database is disposable, and is no longer empty then."""
    query(target, f'comment on database "{target.database}" is null')
    write_files(settings.root / "seeds", {"10_a.sql": ONE})
    ready = require_seedable(target, read_seeds(settings))
    migrate(target, folder_with(settings, SCHEMA), settings)
    with pytest.raises(UnsafeTarget):
        require_seedable(target, read_seeds(settings))
    assert [result.rows for result in apply_accepted(target, ready, settings).results] == [1]


def test_who_asks_for_seeds_where_there_are_none_is_told(built: Target, settings: Settings) -> None:
    with pytest.raises(FilesError, match="there is no seed"):
        apply_seeds(built, read_seeds(settings), settings)
    assert value(built, "select count(*) from app.t") == 0
