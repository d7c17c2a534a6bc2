"""The tasks as a user runs them: `invoke …` as a process, its exit code, its words."""

from __future__ import annotations

import importlib.util
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from headwater.files.read import read_sound_folder
from headwater.model import Target
from headwater.postgres.run import migrate
from headwater.settings import load_settings
from tests.projects import Project, make_project
from tests.support import query, until, value

FIRST, SECOND, THIRD = "20240101_tables", "20240201_rules", "20240301_status"

TABLES = """\
create schema app;
create table app.documents (
    id bigint generated always as identity primary key,
    title text not null default 'untitled'
);
"""
RULES = """\
create function app.shout(words text) returns text language sql immutable
    as $$ select upper(words) $$;
create function app.touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger touched before update on app.documents for each row execute function app.touch();
alter table app.documents enable row level security;
create policy readers on app.documents for select using (title <> '');
"""
STATUS = """\
alter table app.documents
    add column status text not null default 'new';
"""
HISTORY = {f"{FIRST}.sql": TABLES, f"{SECOND}.sql": RULES, f"{THIRD}.sql": STATUS}

HISTORY_TABLE = "public.schema_migrations"


@pytest.fixture
def project(tmp_path: Path, target: Target) -> Project:
    """A project of three migrations, none of them applied, on an empty disposable database."""
    return make_project(tmp_path / "project", HISTORY, target)


@pytest.fixture
def built(project: Project, target: Target) -> Project:
    """The same project, applied."""
    folder = read_sound_folder(project.migrations)
    migrate(target, folder, load_settings(project.root, environ={}))
    return project


def applied(target: Target) -> list[str]:
    if value(target, f"select to_regclass('{HISTORY_TABLE}') is null"):
        return []
    return [row[0] for row in query(target, f"select version from {HISTORY_TABLE} order by 1")]


def titles(target: Target) -> list[str]:
    return [row[0] for row in query(target, "select title from app.documents order by 1")]


def write_third(project: Project, text: str) -> None:
    (project.migrations / f"{THIRD}.sql").write_text(text)


def modules_loaded_by(project: Project, command: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "invoke", *command.split()],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}


# --- starting ---------------------------------------------------------------------------------


def test_a_list_of_the_tasks_loads_no_driver_no_parser_and_no_colours(tmp_path: Path) -> None:
    project = make_project(tmp_path, HISTORY)
    loaded = modules_loaded_by(project, "--list")
    assert {"invoke", "headwater"} <= loaded
    assert not loaded & {"psycopg", "rich", "postgast", "dotenv"}


def test_a_task_without_a_terminal_loads_no_colours(built: Project) -> None:
    assert "rich" not in modules_loaded_by(built, "status")


def test_help_of_each_task_names_its_flags(tmp_path: Path) -> None:
    project = make_project(tmp_path, HISTORY)
    helped = project.invoke("--help migrate")
    helped.said("--to", "--dry-run", "--out-of-order", "--json", "under one lock")


def test_a_mistyped_flag_is_invokes_own_refusal(tmp_path: Path) -> None:
    make_project(tmp_path, HISTORY).invoke("migrate --dryrun", code=1).said("--dryrun")


def test_bad_settings_are_refused_all_at_once(project: Project) -> None:
    ended = project.invoke("status", code=2, HEADWATER_LOCK_KEY="x", HEADWATER_WAIT_LOCK="soon")
    ended.said("HEADWATER_LOCK_KEY", "HEADWATER_WAIT_LOCK", "docs/settings.md")


def test_a_database_that_does_not_exist_is_refused(project: Project) -> None:
    url = project.url.replace("/headwater_test_", "/headwater_missing_")
    ended = project.invoke("migrate", code=2, DATABASE_URL=url)
    ended.said("no connection", "does not exist", "hint: create it: createdb headwater_missing_")


# --- migrate and status -----------------------------------------------------------------------


def test_migrate_applies_each_file_once_and_says_what_it_did(
    project: Project, target: Target
) -> None:
    project.invoke("migrate").said("applied 3 migrations", f"ran {SECOND}", "target: ")
    assert applied(target) == [FIRST, SECOND, THIRD]
    project.invoke("migrate").said("nothing to do: 3 migrations applied")


def test_migrate_stops_at_the_version_that_is_named(project: Project, target: Target) -> None:
    project.invoke(f"migrate --to {SECOND}")
    assert applied(target) == [FIRST, SECOND]


def test_a_version_that_is_not_there_is_refused(project: Project, target: Target) -> None:
    project.invoke("migrate --to 20240201", code=2).said("there is no migration '20240201'")
    assert applied(target) == []


def test_a_dry_run_names_the_files_and_changes_nothing(project: Project, target: Target) -> None:
    project.invoke("migrate --dry-run").said("would apply 3 migrations", f"  {FIRST}\n")
    assert query(target, "select 1 from pg_namespace where nspname = 'app'") == []
    assert applied(target) == []


def test_a_dry_run_shows_the_sql_and_what_must_hold_then(project: Project) -> None:
    project.write(
        {
            f"migrations/{THIRD}.verify.sql": 'select true as "every document has a status";\n',
            "migrations/20240401_index.sql": "-- headwater: no-transaction\n"
            "create index concurrently i on app.documents (title);\n",
        }
    )
    project.invoke("migrate --dry-run").said(
        f"\n-- {THIRD}.sql\n{STATUS}-- {THIRD}.verify.sql: must hold then\n"
        "--   every document has a status\n",
        "\n-- 20240401_index.sql, without a transaction, statement by statement\n",
    )
    form = project.invoke("migrate --dry-run --json").json
    assert [file["sql"] for file in form["files"]][2] == STATUS


def test_a_trial_says_what_it_tried_and_keeps_nothing(project: Project, target: Target) -> None:
    ended = project.invoke("migrate --trial")
    ended.said(f"ran {THIRD}", f"  {THIRD}  ", "tried 3 migrations in ", "nothing was kept")
    assert applied(target) == []
    assert query(target, "select 1 from pg_namespace where nspname = 'app'") == []


def test_a_trial_where_others_may_wait_wants_the_name(built: Project, target: Target) -> None:
    query(target, f"comment on database {target.database} is null")
    built.write({"migrations/20240401_more.sql": "alter table app.documents add c int;\n"})
    hint = f"migrate --trial --confirm {target.database}"
    ended = built.invoke("migrate --trial", code=2)
    ended.said("app.documents: ACCESS EXCLUSIVE (blocks reads and writes)", f"invoke {hint}")
    built.invoke("migrate --trial --confirm another", code=2).said("not 'another'")
    built.invoke(hint).said("held app.documents: ACCESS EXCLUSIVE", "nothing was kept")
    assert applied(target) == [FIRST, SECOND, THIRD]


def test_a_trial_that_fails_ends_like_a_failed_migration(project: Project, target: Target) -> None:
    write_third(project, f"{STATUS}\nselect nothing;\n")
    ended = project.invoke("migrate --trial --json", code=3)
    assert ended.json["error"]["code"] == "migration-failed"
    assert ended.json["error"]["hint"].startswith("nothing was kept")
    assert applied(target) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_trial_that_is_interrupted_keeps_nothing(
    project: Project, target: Target, number: signal.Signals, code: int
) -> None:
    write_third(project, f"{STATUS}select pg_sleep(60);\n")
    runner = project.begin("migrate --trial")
    until(lambda: sleeping(target), "the sleep of the trial")
    runner.send_signal(number)
    project.end(runner, "migrate --trial", code=code)
    until(lambda: not sleeping(target), "the end of its statement")
    assert query(target, "select 1 from pg_namespace where nspname = 'app'") == []


@pytest.mark.parametrize("flags", ["--dry-run --trial", "--confirm x", "--dry-run --confirm x"])
def test_flags_that_contradict_each_other_are_refused(project: Project, flags: str) -> None:
    project.invoke(f"migrate {flags}", code=2).said("--trial")


def test_wait_says_that_the_server_answers_or_why_not(project: Project) -> None:
    project.invoke("wait").said("PostgreSQL ", " answers")
    nobody = "postgresql://nobody@127.0.0.1:1/none"
    ended = project.invoke("wait --timeout 200ms --json", code=2, DATABASE_URL=nobody)
    assert ended.json["error"]["code"] == "unreachable"
    ended.said("did not answer within 200ms")
    assert ended.err.count("waiting up to 200ms") == 1
    project.invoke("wait --timeout soon", code=2).said("--timeout: 'soon' is no duration")


def test_an_edited_file_stops_migrate_and_shows_in_status(built: Project) -> None:
    write_third(built, STATUS + "-- a second thought\n")
    built.invoke("migrate", code=2).said("edited after it was applied (comments and blanks only)")
    built.invoke("status").said(f"{THIRD}  edited")


def test_a_late_file_runs_only_when_it_is_named(built: Project, target: Target) -> None:
    built.write({"migrations/20240115_late.sql": "create table app.late ();\n"})
    hint = "invoke migrate --out-of-order 20240115_late"
    built.invoke("migrate", code=2).said(hint)
    built.invoke(hint.removeprefix("invoke "))
    assert query(
        target, f"select out_of_order from {HISTORY_TABLE} where version like '%late'"
    ) == [(True,)]
    built.invoke("status --check").said("out of order", "4 applied, 0 pending")


def test_status_check_fails_while_something_is_pending(project: Project) -> None:
    project.invoke("status").said("0 applied, 3 pending")
    project.invoke("status --check", code=1)
    assert project.invoke("status --check --json", code=1).json["ok"] is False
    project.invoke("migrate")
    project.invoke("status --check").said("3 applied, 0 pending")


def test_two_runners_at_once_apply_each_version_once(project: Project, target: Target) -> None:
    write_third(project, f"select pg_sleep(0.5);\n{STATUS}")
    runners = [project.begin("migrate") for _ in range(2)]
    ends = [project.end(runner, "migrate", code=0) for runner in runners]
    assert applied(target) == [FIRST, SECOND, THIRD]
    assert sorted("nothing to do" in ended.out for ended in ends) == [False, True]


# --- history ----------------------------------------------------------------------------------


def test_a_cosmetic_edit_is_repaired_by_the_command_that_migrate_names(built: Project) -> None:
    write_third(built, STATUS + "-- a second thought\n")
    command = f"history.repair {THIRD}"
    built.invoke("migrate", code=2).said(f"invoke {command} accepts it")
    built.invoke(command).said(f"{THIRD}: comments and blanks alone were edited")
    built.invoke("status --check").said("3 applied, 0 pending")
    built.invoke(command).said("there is nothing to repair")


def test_an_edit_that_is_not_proved_shows_what_differs_and_exits_with_1(built: Project) -> None:
    write_third(built, STATUS.replace("'new'", "'old'"))
    said = built.invoke(f"history.repair {THIRD}", code=1).said(
        "found        drift           1 difference",
        "column app.documents.status: default 'old'::text -> 'new'::text",
        "nothing was changed",
        "hint: restore the file as it was applied",
    )
    assert "Traceback" not in said.err
    form = built.invoke(f"history.repair {THIRD} --json", code=1).json
    assert (form["ok"], form["repair"], form["changed"]) == (False, "another schema", False)
    assert form["changes"][0]["object"] == "column app.documents.status"
    built.invoke("status").said(f"{THIRD}  edited")


def test_a_renamed_file_is_repaired_by_the_command_that_status_names(
    built: Project, target: Target
) -> None:
    (built.migrations / f"{THIRD}.sql").rename(built.migrations / "20240302_status.sql")
    built.invoke("status").said(f"{THIRD}", "renamed", f"invoke history.repair {THIRD}")
    built.invoke(f"history.repair {THIRD}").said("the renamed file is 20240302_status now")
    assert applied(target) == [FIRST, SECOND, "20240302_status"]
    built.invoke("migrate").said("nothing to do")


def test_a_database_built_by_hand_is_taken_over_and_migrated_on(
    project: Project, target: Target
) -> None:
    query(target, TABLES + RULES)
    query(target, "insert into app.documents default values")
    project.invoke(f"history.baseline {THIRD}", code=1).said(
        "column app.documents.status: missing in the database", "nothing was recorded"
    )
    assert applied(target) == []
    project.invoke(f"history.baseline {SECOND}").said("recorded 2 migrations as baseline")
    project.invoke("status").said("baseline", "2 applied, 1 pending")
    project.invoke("migrate").said("applied 1 migration")
    project.invoke("verify").said("files and database are the same thing")
    assert titles(target) == ["untitled"]


OLDER = (
    f"create table {HISTORY_TABLE} (version text primary key, filename text not null, "
    "applied_at timestamptz default now()); "
    f"insert into {HISTORY_TABLE} values ('20240101', '{FIRST}.sql'), ('{SECOND}', '{SECOND}.sql')"
)


def test_an_older_table_is_taken_over_by_the_command_that_status_names(
    project: Project, target: Target
) -> None:
    query(target, TABLES + RULES + OLDER)
    for command in ("status", "migrate", "verify"):
        project.invoke(command, code=2).said("hint: invoke history.baseline VERSION takes it over")
    form = project.invoke(f"history.baseline {SECOND} --json").json
    assert (form["recorded"], form["kept"]) == ([], [FIRST, SECOND])
    project.invoke("migrate").said("applied 1 migration")
    project.invoke("verify").said("files and database are the same thing")
    assert query(target, f"select filename from {HISTORY_TABLE} order by version") == [
        (f"{FIRST}.sql",),
        (f"{SECOND}.sql",),
        (None,),
    ]


def test_a_row_of_an_older_table_that_is_no_file_is_named(project: Project, target: Target) -> None:
    query(target, TABLES + RULES + OLDER)
    query(target, f"insert into {HISTORY_TABLE} values ('0', 'gone.sql')")
    project.invoke(f"history.baseline {SECOND}", code=2).said(
        "1 row of the older history cannot be told",
        "version '0', filename 'gone.sql': there is no such file",
    )
    form = project.invoke(f"history.baseline {SECOND} --json", code=2).json
    assert form["error"]["code"] == "history"


def test_marking_on_a_database_that_is_not_disposable_wants_its_name(
    project: Project, target: Target
) -> None:
    query(target, f"comment on database {target.database} is null")
    query(target, TABLES)
    named = f"history.mark {FIRST} --confirm {target.database}"
    project.invoke(f"history.mark {FIRST}", code=2).said(f"hint: if that is meant: invoke {named}")
    assert applied(target) == []
    project.invoke(named).said(f"{FIRST} is recorded as applied; it was pending, and did not run")
    assert project.invoke(f"history.mark {FIRST} --json", code=2).json["error"]["code"] == "history"
    assert applied(target) == [FIRST]


CLAIMS = {
    "mark": (STATUS, f"history.mark {THIRD}"),
    "baseline": (STATUS, f"history.baseline {THIRD}"),
    "repair": (f"-- why\n{STATUS}", f"history.repair {THIRD}"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_that_is_killed_leaves_history_as_it_was_and_may_be_made_again(
    built: Project, target: Target, claim: str
) -> None:
    text, command = CLAIMS[claim]
    write_third(built, text)
    if claim != "repair":
        query(target, f"delete from {HISTORY_TABLE} where version = '{THIRD}'")
    rows = f"select t::text from {HISTORY_TABLE} t order by 1"
    before = query(target, rows)
    with psycopg.connect(target.conninfo) as other:
        other.execute(f"lock table {HISTORY_TABLE} in share mode".encode())
        process = built.begin(command, HEADWATER_LOCK_TIMEOUT="30s")
        waiting = (
            "select count(*) from pg_locks where not granted "
            f"and relation = '{HISTORY_TABLE}'::regclass"
        )
        until(lambda: value(target, waiting), "waiting for the table")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert query(target, rows) == before
    until(
        lambda: value(
            target,
            "select count(*) = 0 from pg_stat_activity where application_name like 'headwater%' "
            "and datname = current_database()",
        ),
        "the end of the sessions",
    )
    assert query(target, rows) == before
    built.invoke(command)
    built.invoke("status --check").said("3 applied, 0 pending")


# --- reset ------------------------------------------------------------------------------------


def test_reset_rebuilds_from_the_files_every_time(built: Project, target: Target) -> None:
    query(target, "insert into app.documents default values")
    for _ in range(2):
        built.invoke("reset").said("rebuilt app from 3 migrations", "in one transaction")
        assert titles(target) == []
    assert applied(target) == [FIRST, SECOND, THIRD]


def test_a_syntax_error_is_refused_before_anything_runs(built: Project, target: Target) -> None:
    query(target, "insert into app.documents (title) values ('yesterday')")
    write_third(built, "alter table app.documents\n    add colum status text nut null;\n")
    ended = built.invoke("reset", code=2)
    ended.said(f"{THIRD}.sql:2:22: error syntax", f"\n{' ' * 27}^\n", "nothing changed")
    assert titles(target) == ["yesterday"]
    write_third(built, STATUS)
    built.invoke("reset")
    assert titles(target) == []


def test_an_error_that_the_server_finds_rolls_the_whole_reset_back(
    built: Project, target: Target
) -> None:
    query(target, "insert into app.documents (title) values ('yesterday')")
    write_third(built, f"{STATUS}\nupdate app.documents\n   set stats = 'old';\n")
    ended = built.invoke("reset", code=3)
    ended.said(f"error: {THIRD}.sql:5:8: ", 'column "stats"', "   set stats = 'old';", "       ^\n")
    assert titles(target) == ["yesterday"]
    assert applied(target) == [FIRST, SECOND, THIRD]
    write_third(built, STATUS)
    built.invoke("reset")
    assert titles(target) == []


def test_reset_refuses_a_database_that_holds_somebody_elses_tables(
    project: Project, target: Target
) -> None:
    query(target, "create table public.payroll (salary int); insert into payroll values (1)")
    query(target, f'comment on database "{target.database}" is $$production$$')
    mark = f"invoke db.disposable {target.database}"
    ended = project.invoke("reset", code=2)
    ended.said("not marked as disposable", f"hint: if nobody needs its data: {mark}")
    assert query(target, "select salary from public.payroll") == [(1,)]
    assert query(target, "select 1 from pg_namespace where nspname = 'app'") == []

    project.invoke("db.disposable somewhere_else", code=2).said("nothing was marked")
    project.invoke(mark.removeprefix("invoke ")).said("is marked as disposable")
    project.invoke(mark.removeprefix("invoke ")).said("was marked already")
    project.invoke("reset")
    assert query(target, "select salary from public.payroll") == [(1,)]


def test_reset_refuses_to_take_what_the_files_do_not_rebuild(
    built: Project, target: Target
) -> None:
    query(target, "create view public.report as select title from app.documents")
    built.invoke("reset", code=2).said("view public.report", "nothing was touched")
    assert query(target, "select 1 from pg_views where viewname = 'report'") == [(1,)]


# --- interrupted ------------------------------------------------------------------------------


def sleeping(target: Target) -> int:
    """Say how many sessions sleep in the target, as the test's migration does."""
    return int(
        value(
            target,
            "select count(*) from pg_stat_activity where datname = current_database() "
            "and state = 'active' and query like '%pg_sleep(' || '60)%'",
        )
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
@pytest.mark.parametrize("command", ["migrate", "reset"])
def test_an_interrupted_run_leaves_nothing_behind(
    project: Project, target: Target, command: str, number: signal.Signals, code: int
) -> None:
    write_third(project, f"{STATUS}select pg_sleep(60);\n")
    runner = project.begin(command)
    until(lambda: sleeping(target), "the sleep of the migration")
    runner.send_signal(number)
    ended = project.end(runner, command, code=code)
    assert ended.err.splitlines()[-1] == ("interrupted" if code == 130 else "terminated")
    assert "Traceback" not in ended.err
    until(lambda: not sleeping(target), "the end of its statement")
    assert applied(target) == ([FIRST, SECOND] if command == "migrate" else [])


def test_an_interrupted_verify_waits_for_nothing(built: Project, target: Target) -> None:
    """The target is asked beside the scratch database, and must be given up as well."""
    sentence = 'select pg_sleep(60) is not null as "it has slept"'
    built.write({"migrations/checks/slow.sql": f"{sentence};\n"})
    runner = built.begin("verify")
    until(lambda: sleeping(target), "the check")
    runner.send_signal(signal.SIGINT)
    begun = time.monotonic()
    ended = built.end(runner, "verify", code=130)
    assert time.monotonic() - begun < 20
    assert ended.err.splitlines()[-1] == "interrupted"
    until(lambda: not sleeping(target), "the end of the check")


# --- verify -----------------------------------------------------------------------------------

BY_HAND = """
alter table app.documents add column owner text;
drop policy readers on app.documents;
alter table app.documents alter title set default 'unnamed';
alter table app.documents disable trigger touched;
create or replace function app.shout(words text) returns text language sql immutable
    as $$ select lower(words) $$;
"""
UNDONE = """
alter table app.documents drop column owner;
create policy readers on app.documents for select using (title <> '');
alter table app.documents alter title set default 'untitled';
alter table app.documents enable trigger touched;
create or replace function app.shout(words text) returns text language sql immutable
    as $$ select upper(words) $$;
"""


def test_verify_names_what_was_changed_by_hand_until_it_is_undone(
    built: Project, target: Target
) -> None:
    query(target, BY_HAND)
    ended = built.invoke("verify", code=1)
    ended.said(
        "found        drift           5 differences",
        "    column app.documents.owner: in the database, not in the files\n",
        "    policy readers on app.documents: missing in the database\n",
        "    column app.documents.title: default",
        "    trigger touched on app.documents: ",
        "    function app.shout(",
        "hint: to keep it: invoke migration.new NAME",
    )
    query(target, UNDONE)
    built.invoke("verify").said("files and database are the same thing")


def test_verify_gives_all_eight_lines_even_when_the_first_one_fails(built: Project) -> None:
    write_third(built, "alter tabel;\n")
    ended = built.invoke("verify --json", code=1)
    lines = {line["name"]: line["outcome"] for line in ended.json["lines"]}
    assert lines == {
        "files": "found",
        "rebuild": "skipped",
        "post-conditions": "ok",
        "undo": "ok",
        "checks": "ok",
        "seeds": "ok",
        "drift": "skipped",
        "lint": "ok",
    }


def test_verify_finds_a_check_that_does_not_hold(built: Project, target: Target) -> None:
    sentence = 'select count(*) = 0 as "no document is called secret" from app.documents\n'
    built.write({"migrations/checks/titles.sql": f"{sentence} where title = 'secret';\n"})
    built.invoke("verify").said("1 hold of the rebuilt schema and the target")
    query(target, "insert into app.documents (title) values ('secret')")
    built.invoke("verify", code=1).said("“no document is called secret” does not hold (false)")


# --- lint -------------------------------------------------------------------------------------


def test_lint_looks_at_what_is_pending_and_fails_where_it_is_told_to(built: Project) -> None:
    built.invoke("lint").said("nothing to lint: no file counts")
    built.write({"migrations/20240401_index.sql": "create index i on app.documents (title);\n"})
    built.invoke("lint").said("warning require-concurrent-index-creation", "1 finding in 1 file")
    built.invoke("lint --fail-on warning", code=1)
    built.invoke("lint --fail-on catastrophe", code=2).said("'catastrophe' is no severity")


def test_lint_of_the_text_needs_no_database(tmp_path: Path) -> None:
    project = make_project(tmp_path, HISTORY)
    project.invoke("lint --text", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none").said(
        "3 files"
    )


# --- migration.new ----------------------------------------------------------------------------


def today() -> str:
    return f"{datetime.now(UTC):%Y%m%d}"


def test_a_new_migration_has_todays_date_and_a_checklist(tmp_path: Path) -> None:
    project = make_project(tmp_path, HISTORY)
    ended = project.invoke("migration.new add_project_status")
    [path] = project.migrations.glob("*_add_project_status.sql")
    assert ended.out == f"migrations/{path.name}\n"
    assert path.name == f"{today()}_add_project_status.sql"
    assert "[ ] one purpose" in path.read_text()


def test_a_new_migration_says_in_json_where_it_is(tmp_path: Path) -> None:
    project = make_project(tmp_path, HISTORY)
    form = project.invoke("migration.new add_owner --json").json
    version = f"{today()}_add_owner"
    assert form == {
        "ok": True,
        "task": "migration.new",
        "path": f"migrations/{version}.sql",
        "version": version,
    }


def test_the_first_migration_of_a_project_makes_its_folder(tmp_path: Path) -> None:
    project = make_project(tmp_path, {})
    project.migrations.rmdir()
    project.invoke("migration.new begin")
    assert [path.name for path in project.migrations.iterdir()] == [f"{today()}_begin.sql"]


def test_a_new_migration_may_lie_outside_the_project(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", HISTORY)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ended = project.invoke("migration.new begin", HEADWATER_MIGRATIONS=str(elsewhere))
    assert ended.out == f"{elsewhere / f'{today()}_begin.sql'}\n"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("AddStatus", "a description is of a-z, 0-9 and single _"),
        ("add-status", "a description is of a-z, 0-9 and single _"),
        ("20250101_add", "a description begins with no date or number"),
        ("../escape", "a description is of a-z, 0-9 and single _"),
        ("status", f"by {THIRD}.sql"),
    ],
)
def test_a_bad_or_used_name_is_refused(tmp_path: Path, name: str, why: str) -> None:
    project = make_project(tmp_path, HISTORY)
    form = project.invoke(f"migration.new {name} --json", code=2).said(why).json
    assert (form["ok"], form["task"], form["error"]["code"]) == (False, "migration.new", "files")
    assert len(list(project.migrations.iterdir())) == 3


# --- the database -----------------------------------------------------------------------------


def test_only_db_url_prints_the_password(project: Project) -> None:
    assert project.invoke("db.url").out == f"{project.url}\n"
    # That no other task does is required by every `invoke` of these tests.
    project.invoke("status")
    project.invoke("db.psql --command 'select 1'")


@pytest.mark.parametrize(
    "damage",
    [("@", "@@"), ("postgresql://", "postgresql:/"), ("/headwater", "%zz/headwater"), (":", "::")],
)
def test_a_damaged_url_is_refused_without_being_quoted(
    project: Project, damage: tuple[str, str]
) -> None:
    url = project.url.replace(*damage)
    ended = project.invoke("status --json", code=2, DATABASE_URL=url)
    assert ended.json["error"]["code"] in ("settings", "target")


def test_psql_runs_one_command_and_gives_its_exit_code(project: Project) -> None:
    project.invoke("db.psql --command 'select 40 + 2'").said("42")
    project.invoke("db.psql --command 'selec 1'", code=1).said("syntax error")
    project.invoke("db.psql -c 'select 40 + 2'").said("42")


@pytest.mark.parametrize(
    "command",
    ["db.psql --test ''", "db.psql --command ''", "db.test-url --at ''", "db.test-url --pid ' '"],
)
def test_a_value_that_came_out_empty_is_no_flag_left_out(project: Project, command: str) -> None:
    """An unset variable of a script must not open the target in place of a test database."""
    flag = command.split()[1]
    project.invoke(command, code=2).said(f"{flag} is empty: leave it out, or ")


needs_the_package = pytest.mark.skipif(
    importlib.util.find_spec("pg0") is None, reason="the private server is not installed"
)


@contextmanager
def private_project(root: Path) -> Generator[Project]:
    project = make_project(root, HISTORY)
    try:
        yield project
    finally:
        project.invoke("db.destroy")


@needs_the_package
def test_onboard_makes_everything_and_may_be_repeated(tmp_path: Path) -> None:
    with private_project(tmp_path) as project:
        project.write({".env.example": "# NO_COLOR=1\n"})
        first = project.invoke("onboard")
        first.said(
            "wrote .env from .env.example", "applied 3 migrations", "next:", "private server"
        )
        dotenv = project.root / ".env"
        assert stat.S_IMODE(dotenv.stat().st_mode) == 0o600
        dotenv.write_text("# mine\n")

        second = project.invoke("onboard --json").json
        assert (second["dotenv_written"], second["migrations"]) == (False, [])
        assert dotenv.read_text() == "# mine\n"


@needs_the_package
def test_the_private_server_is_started_stopped_and_destroyed(tmp_path: Path) -> None:
    with private_project(tmp_path) as project:
        project.invoke("db.stop").said("did not run")
        port = project.invoke("db.start --json").json["port"]
        url = project.invoke("db.url").out.strip()
        assert f"@127.0.0.1:{port}/headwater" in url
        project.invoke("reset")
        project.invoke("db.stop").said("is stopped")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        # The next command starts it again, with its data.
        project.invoke("status --check").said("starting the private PostgreSQL", "3 applied")
        assert project.invoke("db.destroy --json").json["changed"] is True
        project.invoke("db.destroy").said("was not there")


# --- output -----------------------------------------------------------------------------------


def shown_in_a_terminal(project: Project, command: str, **environment: str) -> str:
    """Run a task whose stdout and stderr are a terminal, and give what it wrote there."""
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", *command.split()],
        cwd=project.root,
        env=project.environment() | environment,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    shown = b""
    while True:
        try:
            part = os.read(reader, 65_536)
        except OSError:  # Linux: every writer has closed its end
            break
        if not part:
            break
        shown += part
    os.close(reader)
    assert process.wait() == 0, shown
    return shown.decode()


def test_colours_are_for_terminals_and_no_color_is_honoured(built: Project) -> None:
    green = "\x1b[32m"
    assert green in shown_in_a_terminal(built, "status")
    assert green not in shown_in_a_terminal(built, "status", NO_COLOR="1")
    assert "\x1b" not in shown_in_a_terminal(built, "status", TERM="dumb")
    # Elsewhere there are none at all: every `invoke` of these tests requires it.


def test_json_is_alone_on_stdout(project: Project) -> None:
    ended = project.invoke("migrate --json")
    assert [result["version"] for result in ended.json["migrations"]] == [FIRST, SECOND, THIRD]
    assert f"ran {FIRST}" in ended.err


def test_a_reader_that_goes_away_is_no_bug(built: Project) -> None:
    runner = built.begin("status")
    assert runner.stdout is not None
    runner.stdout.close()
    runner.stdout = None
    assert "Traceback" not in built.end(runner, "status", code=141).err


@pytest.mark.parametrize("task", ["migration.new", "db.disposable"])
def test_asking_a_task_for_help_behind_its_name_writes_and_marks_nothing(
    tmp_path: Path, task: str
) -> None:
    project = make_project(tmp_path, HISTORY)
    before = sorted(project.root.rglob("*.sql"))
    project.invoke(f"{task} --help", code=2).said(f"invoke --help {task}")
    assert sorted(project.root.rglob("*.sql")) == before
