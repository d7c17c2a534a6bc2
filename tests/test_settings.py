"""Settings: where they come from, which one wins, and that no password is ever told."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater.settings import (
    DEFAULT_LOCK_KEY,
    VARIABLES,
    DatabaseChoice,
    Settings,
    load_settings,
    with_limits,
)
from headwater.settings_forms import faults_of_url, milliseconds
from tests.support import server_of_tests

EXAMPLE = Path(__file__).parent.parent / ".env.example"
CANARY = "canary"
URL = "postgresql://app@localhost/app"
OTHER_URL = "postgresql://app@elsewhere/app"


def load(
    root: Path, environ: dict[str, str] | None = None, *, dotenv: str = "", toml: str = ""
) -> Settings:
    """Load the settings of a project that holds these files."""
    if dotenv:
        (root / ".env").write_text(dotenv, encoding="utf-8")
    if toml:
        (root / "headwater.toml").write_text(toml, encoding="utf-8")
    return load_settings(root, environ=environ or {})


def refused(
    root: Path, environ: dict[str, str] | None = None, *, dotenv: str = "", toml: str = ""
) -> list[str]:
    """Load settings that must be refused, and give what the one error lists."""
    with pytest.raises(SettingsError) as caught:
        load(root, environ, dotenv=dotenv, toml=toml)
    assert caught.value.exit_code == 2
    assert "docs/settings.md" in caught.value.hint
    return caught.value.detail.splitlines()


def only_problem(
    root: Path, environ: dict[str, str] | None = None, *, dotenv: str = "", toml: str = ""
) -> str:
    """Load settings with exactly one fault, and give it."""
    [problem] = refused(root, environ, dotenv=dotenv, toml=toml)
    return problem


def database_of(settings: Settings) -> DatabaseChoice:
    """Give the database of the settings; there must be one."""
    assert settings.database is not None
    return settings.database


# --- where a value comes from -----------------------------------------------------------------


def test_a_project_without_any_setting_gets_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings == Settings(root=tmp_path, migrations=tmp_path / "migrations")
    assert settings.schemas == ("public",)
    assert settings.history == "public.schema_migrations"
    assert settings.lock_key == DEFAULT_LOCK_KEY == 4815162342
    assert (settings.lock_timeout_ms, settings.wait_lock_ms) == (2_000, 60_000)
    assert (settings.database, settings.scratch, settings.test) == (None, None, None)


def test_every_setting_is_read(tmp_path: Path) -> None:
    environ = {
        "DATABASE_URL": URL,
        "HEADWATER_SCRATCH_URL": f"{URL}_scratch",
        "TEST_DATABASE_URL": f"{URL}_test",
        "HEADWATER_MIGRATIONS": "db/migrations",
        "HEADWATER_SCHEMAS": " kb , core ",
        "HEADWATER_HISTORY_TABLE": "ops.applied",
        "HEADWATER_LOCK_KEY": "-7",
        "HEADWATER_LOCK_TIMEOUT": "500ms",
        "HEADWATER_WAIT_LOCK": "0s",
        "HEADWATER_APPLICATION_ROLE": "Web App",
        "HEADWATER_APPLICATION_SETTING": "tenancy.{}",
    }
    assert load(tmp_path, environ) == Settings(
        root=tmp_path,
        migrations=tmp_path / "db/migrations",
        schemas=("kb", "core"),
        history_schema="ops",
        history_table="applied",
        lock_key=-7,
        lock_timeout_ms=500,
        wait_lock_ms=0,
        application_role="Web App",
        application_setting="tenancy.{}",
        database=DatabaseChoice(source="DATABASE_URL in the environment", url=URL),
        scratch=DatabaseChoice(
            source="HEADWATER_SCRATCH_URL in the environment", url=f"{URL}_scratch"
        ),
        test=DatabaseChoice(source="TEST_DATABASE_URL in the environment", url=f"{URL}_test"),
    )


def test_the_environment_wins_over_dotenv_over_toml_over_the_default(tmp_path: Path) -> None:
    toml = "lock_key = 3\nlock_timeout = '3s'\nwait_lock = '3s'"
    dotenv = "HEADWATER_LOCK_KEY=2\nHEADWATER_LOCK_TIMEOUT=2s"
    settings = load(tmp_path, {"HEADWATER_LOCK_KEY": "1"}, dotenv=dotenv, toml=toml)
    assert settings.lock_key == 1
    assert settings.lock_timeout_ms == 2_000
    assert settings.wait_lock_ms == 3_000
    assert settings.schemas == ("public",)


def test_an_absolute_folder_stays_where_it_is(tmp_path: Path) -> None:
    settings = load(tmp_path / "project", {"HEADWATER_MIGRATIONS": str(tmp_path / "sql")})
    assert settings.migrations == tmp_path / "sql"


def test_the_folder_of_seeds_is_named_by_each_source(tmp_path: Path) -> None:
    assert load(tmp_path).seeds is None
    assert load(tmp_path, toml="seeds = 'rows'").seeds == tmp_path / "rows"
    assert load(tmp_path, dotenv="HEADWATER_SEEDS=demo").seeds == tmp_path / "demo"
    assert load(tmp_path, {"HEADWATER_SEEDS": "/elsewhere"}).seeds == Path("/elsewhere")
    assert "a folder is named by its path" in only_problem(tmp_path, {"HEADWATER_SEEDS": URL})


def test_empty_is_unset_in_every_source(tmp_path: Path) -> None:
    names = [variable.name for variable in VARIABLES]
    settings = load(
        tmp_path,
        dict.fromkeys([*names, "PGHOST", "PGSERVICE", "PGDATABASE"], ""),
        dotenv="".join(f"{name}=\n" for name in [*names, "PGHOST"]),
        toml="schemas = []\nmigrations = ''\nlock_timeout = ''",
    )
    assert settings == Settings(root=tmp_path, migrations=tmp_path / "migrations")


def test_an_empty_variable_lets_the_next_source_speak(tmp_path: Path) -> None:
    settings = load(tmp_path, {"HEADWATER_LOCK_KEY": ""}, dotenv="HEADWATER_LOCK_KEY=2")
    assert settings.lock_key == 2


def test_the_process_environment_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_LOCK_KEY", "77")
    assert load_settings(tmp_path).lock_key == 77


def test_the_table_of_pyproject_is_read(tmp_path: Path) -> None:
    table = "[tool.other]\nx = 1\n[tool.headwater]\nschemas = ['kb', 'core']\n"
    (tmp_path / "pyproject.toml").write_text(table, encoding="utf-8")
    assert load(tmp_path).schemas == ("kb", "core")


def test_headwater_toml_stands_instead_of_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.headwater]\nschemas = 'a'\nlock_key = 5\n", encoding="utf-8"
    )
    settings = load(tmp_path, toml="schemas = 'b'")
    assert (settings.schemas, settings.lock_key) == (("b",), DEFAULT_LOCK_KEY)


def test_a_pyproject_of_somebody_else_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    assert load(tmp_path) == Settings(root=tmp_path, migrations=tmp_path / "migrations")


def test_a_toml_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert load(tmp_path, toml="\ufefflock_key = 5").lock_key == 5


# --- .env -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "value"),
    [
        pytest.param("PGPASSWORD=x", "x", id="plain"),
        pytest.param("  PGPASSWORD=x", "x", id="indented"),
        pytest.param("PGPASSWORD = x", "x", id="blanks-around-="),
        pytest.param("PGPASSWORD=x   ", "x", id="trailing-blanks"),
        pytest.param("PGPASSWORD=\tx", "x", id="tab"),
        pytest.param("export PGPASSWORD=x", "x", id="export"),
        pytest.param("export\tPGPASSWORD='x'", "x", id="export-tab-quoted"),
        pytest.param("'PGPASSWORD'=x", "x", id="quoted-name"),
        pytest.param('PGPASSWORD="x y"', "x y", id="double-quotes"),
        pytest.param("PGPASSWORD='x y'", "x y", id="single-quotes"),
        pytest.param("PGPASSWORD=x y", "x y", id="blank-without-quotes"),
        pytest.param("PGPASSWORD='x\"y'", 'x"y', id="quote-inside-quotes"),
        pytest.param(r'PGPASSWORD="x\"y"', 'x"y', id="escaped-quote"),
        pytest.param(r"PGPASSWORD='x\'y'", "x'y", id="escaped-single-quote"),
        pytest.param(r'PGPASSWORD="x\\y"', r"x\y", id="escaped-backslash"),
        pytest.param(r"PGPASSWORD='x\ny'", r"x\ny", id="no-escape-in-single-quotes"),
        pytest.param(r"PGPASSWORD=x\ny", r"x\ny", id="no-escape-without-quotes"),
        pytest.param("PGPASSWORD=x # a comment", "x", id="comment-behind"),
        pytest.param("PGPASSWORD='x' # a comment", "x", id="comment-behind-quotes"),
        pytest.param('PGPASSWORD="x"#a comment', "x", id="comment-close-behind-quotes"),
        pytest.param("PGPASSWORD=x#y", "x#y", id="hash-inside"),
        pytest.param("PGPASSWORD=#y", "#y", id="hash-first"),
        pytest.param("PGPASSWORD='x # y'", "x # y", id="hash-inside-single-quotes"),
        pytest.param('PGPASSWORD="x # y"', "x # y", id="hash-inside-double-quotes"),
        pytest.param("PGPASSWORD=x=y==", "x=y==", id="equal-signs"),
        pytest.param("PGPASSWORD=${PGHOST}", "${PGHOST}", id="braces-are-not-filled-in"),
        pytest.param('PGPASSWORD="$PGHOST"', "$PGHOST", id="dollar-is-not-filled-in"),
        pytest.param("PGPASSWORD=`id`", "`id`", id="nothing-is-run"),
        pytest.param("PGPASSWORD=été", "été", id="not-ascii"),
        pytest.param("PGPASSWORD=x\r\n", "x", id="crlf"),
        pytest.param("PGPASSWORD='x'\r\n# c\r\n", "x", id="crlf-quoted"),
        pytest.param("# PGPASSWORD=y\nPGPASSWORD=x", "x", id="commented-out"),
        pytest.param("PGPASSWORD=y\nPGPASSWORD=x", "x", id="last-one-wins"),
        pytest.param("PGPASSWORD=y\nPGPASSWORD=", None, id="last-one-empties"),
        pytest.param("PGPASSWORD=", None, id="nothing"),
        pytest.param("PGPASSWORD=''", None, id="empty-quotes"),
        pytest.param("PGPASSWORD= # y", None, id="only-a-comment-behind"),
    ],
)
def test_a_line_of_dotenv_means(tmp_path: Path, line: str, value: str | None) -> None:
    (tmp_path / ".env").write_bytes(f"PGHOST=h\n{line}".encode())
    keywords = database_of(load(tmp_path)).keywords
    assert keywords == ({"host": "h"} if value is None else {"host": "h", "password": value})


def test_a_byte_order_mark_of_dotenv_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert load(tmp_path, dotenv="\ufeffHEADWATER_LOCK_KEY=5").lock_key == 5


def test_dotenv_is_read_from_the_root_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("HEADWATER_LOCK_KEY=5", encoding="utf-8")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path / "project").lock_key == DEFAULT_LOCK_KEY


def test_dotenv_does_not_reach_the_process_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADWATER_LOCK_KEY", raising=False)
    load(tmp_path, dotenv="HEADWATER_LOCK_KEY=5")
    assert load_settings(tmp_path / "elsewhere").lock_key == DEFAULT_LOCK_KEY


def test_no_color_alone_reaches_it_where_rich_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {})
    load(tmp_path, dotenv="NO_COLOR=1\nHEADWATER_LOCK_KEY=5", environ={})
    assert os.environ == {}
    load_settings(tmp_path)
    assert os.environ == {"NO_COLOR": "1"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("A=1\nB C\n", 2, id="no-equal-sign"),
        pytest.param("A=1\n\n\nDATABASE_URL postgresql://u:canary@h/d\n", 4, id="blank-lines"),
        pytest.param("A=1\nDATABASE_URL:postgresql://u:canary@h/d\n", 2, id="colon"),
        pytest.param("\n# c\n\nPGPASSWORD\n", 4, id="name-alone"),
        pytest.param("PGPASSWORD='canary\n", 1, id="open-quote"),
        pytest.param("PGPASSWORD='canary' x\n", 1, id="more-behind-the-quote"),
        pytest.param("=canary\n", 1, id="no-name"),
        pytest.param("\n$env:PGPASSWORD = 'canary'\n", 2, id="another-shell"),
        pytest.param("A=1\nPG-PASSWORD=canary\n", 2, id="no-name-of-a-variable"),
        pytest.param("PGPASSWORD=can\x00ary\n", 1, id="nul"),
    ],
)
def test_a_line_that_says_nothing_is_refused_by_its_number(
    tmp_path: Path, text: str, line: int
) -> None:
    assert only_problem(tmp_path, dotenv=text) == f".env line {line} is not of the form NAME=value"


@pytest.mark.parametrize("name", [".env", "headwater.toml", "pyproject.toml"])
def test_a_source_that_cannot_be_read_is_told_without_quoting_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PGPASSWORD='canary\xe9'")
    assert only_problem(tmp_path) == f"{name} cannot be read: not UTF-8 at byte 18"


@pytest.mark.parametrize("name", [".env", "headwater.toml", "pyproject.toml"])
def test_a_folder_in_the_place_of_a_source_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert only_problem(tmp_path) == f"{name} cannot be read: Is a directory"


@pytest.mark.parametrize("name", [".env", "headwater.toml", "pyproject.toml"])
def test_a_pipe_in_the_place_of_a_source_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert only_problem(tmp_path) == f"{name} cannot be read: not a file"


@pytest.mark.parametrize("name", ["database_url", "Test_Database_Url", "pghost", "PgPassword"])
def test_a_name_in_other_capitals_is_not_ignored(tmp_path: Path, name: str) -> None:
    problem = only_problem(tmp_path, dotenv=f"{name}=x")
    assert problem == f"{name} in .env is no setting; write {name.upper()}"


@pytest.mark.parametrize("environ", [{"headwater_lock_key": "1"}, {"Headwater_Lock_Key": "1"}])
def test_a_setting_in_other_capitals_is_not_ignored(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    [name] = environ
    assert only_problem(tmp_path, environ) == f"{name} in the environment is no setting"


def test_a_linked_source_is_read(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("HEADWATER_LOCK_KEY=5", encoding="utf-8")
    (tmp_path / ".env").symlink_to("shared")
    assert load(tmp_path).lock_key == 5


def test_a_fault_of_toml_is_told_with_its_line(tmp_path: Path) -> None:
    problem = only_problem(tmp_path, toml="lock_key = 1\nscratch_url = postgresql://u:canary@h/d")
    assert problem.startswith("headwater.toml cannot be read: ")
    assert "line 2" in problem
    assert CANARY not in problem


# --- bad values -------------------------------------------------------------------------------


def test_everything_wrong_is_told_in_one_error(tmp_path: Path) -> None:
    problems = refused(
        tmp_path,
        {
            "DATABASE_URL": "mysql://u@h/d",
            "HEADWATER_SCRATCH_URL": "postgresql://h:port/d",
            "TEST_DATABASE_URL": "h/d",
            "HEADWATER_MIGRATIONS": URL,
            "HEADWATER_SCHEMAS": "Kb",
            "HEADWATER_HISTORY_TABLE": "history",
        },
        dotenv="HEADWATER_LOCK_KEY=four\nHEADWATER_LOCK_TIMEOUT=0s\nbroken line\n",
        toml="wait_lock = 5\nlock = 1",
    )
    beginnings = {
        "DATABASE_URL in the environment: ",
        "HEADWATER_SCRATCH_URL in the environment: ",
        "TEST_DATABASE_URL in the environment: ",
        "HEADWATER_MIGRATIONS in the environment: ",
        "HEADWATER_SCHEMAS in the environment: ",
        "HEADWATER_HISTORY_TABLE in the environment: ",
        "HEADWATER_LOCK_KEY in .env: ",
        "HEADWATER_LOCK_TIMEOUT in .env: ",
        ".env line 3 is not of the form ",
        "wait_lock in headwater.toml: ",
        "headwater.toml: lock is no setting ",
    }
    assert len(problems) == len(beginnings)
    for beginning in beginnings:
        assert any(problem.startswith(beginning) for problem in problems), beginning


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        pytest.param("SCHEMAS", "Kb", "is no plain name", id="upper-case-schema"),
        pytest.param("SCHEMAS", 'kb; drop schema "core"', "is no plain name", id="sql-as-schema"),
        pytest.param("SCHEMAS", "1kb", "is no plain name", id="schema-begins-with-digit"),
        pytest.param("SCHEMAS", "k" * 64, "is no plain name", id="schema-too-long"),
        pytest.param("SCHEMAS", "kb,core,kb", "each schema once", id="schema-twice"),
        pytest.param("SCHEMAS", " , ", "each schema once", id="no-schema"),
        pytest.param("SCHEMAS", "pg_catalog", "belongs to PostgreSQL", id="system-schema"),
        pytest.param(
            "SCHEMAS", "information_schema", "belongs to PostgreSQL", id="information-schema"
        ),
        pytest.param("HISTORY_TABLE", "history", "needs its schema", id="history-without-schema"),
        pytest.param("HISTORY_TABLE", "public.", "is no plain name", id="history-without-name"),
        pytest.param("HISTORY_TABLE", ".history", "is no plain name", id="history-empty-schema"),
        pytest.param("HISTORY_TABLE", "a.b.c", "is no plain name", id="history-three-parts"),
        pytest.param("HISTORY_TABLE", "pg_x.h", "belongs to PostgreSQL", id="history-in-pg"),
        pytest.param(
            "HISTORY_TABLE", f"ops.{'h' * 58}", "more than 57 characters", id="no-room-for-_steps"
        ),
        pytest.param("LOCK_KEY", "four", "is no whole number", id="key-no-number"),
        pytest.param("LOCK_KEY", "1.5", "is no whole number", id="key-fraction"),
        pytest.param("LOCK_KEY", "1_000", "is no whole number", id="key-python-spelling"),
        pytest.param("LOCK_KEY", "\u0663", "is no whole number", id="key-other-digits"),
        pytest.param("LOCK_KEY", str(2**63), "does not fit into 64 bits", id="key-too-large"),
        pytest.param("LOCK_KEY", str(-(2**63) - 1), "does not fit", id="key-too-small"),
        pytest.param("LOCK_KEY", "9" * 5000, "does not fit", id="key-thousands-of-digits"),
        pytest.param("LOCK_TIMEOUT", "2", "is no duration", id="timeout-without-unit"),
        pytest.param("LOCK_TIMEOUT", "-2s", "is no duration", id="timeout-negative"),
        pytest.param("LOCK_TIMEOUT", "2 hours", "is no duration", id="timeout-unknown-unit"),
        pytest.param("LOCK_TIMEOUT", "0s", "would wait without end", id="timeout-zero"),
        pytest.param("LOCK_TIMEOUT", "0.1ms", "would wait without end", id="timeout-rounds-to-0"),
        pytest.param("LOCK_TIMEOUT", "40000min", "longer than PostgreSQL", id="timeout-too-long"),
        pytest.param("WAIT_LOCK", f"{'9' * 400}s", "longer than PostgreSQL", id="wait-infinite"),
        pytest.param("WAIT_LOCK", "soon", "is no duration", id="wait-no-duration"),
        pytest.param("MIGRATIONS", URL, "named by its path", id="folder-is-a-url"),
        pytest.param("MIGRATIONS", "a\x00b", "named by its path", id="folder-holds-a-nul"),
    ],
)
def test_a_bad_value_is_refused(tmp_path: Path, name: str, value: str, fault: str) -> None:
    problem = only_problem(tmp_path, {f"HEADWATER_{name}": value})
    assert problem.startswith(f"HEADWATER_{name} in the environment: ")
    assert fault in problem


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        pytest.param("LOCK_KEY", str(2**63 - 1), "lock_key", 2**63 - 1, id="largest-key"),
        pytest.param("LOCK_KEY", str(-(2**63)), "lock_key", -(2**63), id="smallest-key"),
        pytest.param("SCHEMAS", "k" * 63, "schemas", ("k" * 63,), id="longest-schema"),
        pytest.param("SCHEMAS", "_a,b1,", "schemas", ("_a", "b1"), id="trailing-comma"),
        pytest.param(
            "HISTORY_TABLE", f"ops.{'h' * 57}", "history_table", "h" * 57, id="longest-history"
        ),
        pytest.param("WAIT_LOCK", "2147483647ms", "wait_lock_ms", 2**31 - 1, id="longest-wait"),
    ],
)
def test_the_outermost_good_value_is_taken(
    tmp_path: Path, name: str, value: str, attribute: str, expected: object
) -> None:
    settings = load(tmp_path, {f"HEADWATER_{name}": value})
    assert getattr(settings, attribute) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("500ms", 500, id="ms"),
        pytest.param("2s", 2_000, id="s"),
        pytest.param(" 1.5 s ", 1_500, id="fraction-and-blanks"),
        pytest.param("1 min", 60_000, id="min"),
        pytest.param("0s", 0, id="zero"),
    ],
)
def test_a_duration_is_read(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        pytest.param("schema = 'kb'", "schema is no setting (known: scratch_url", id="unknown"),
        pytest.param("database_url = 'canary'", "database_url is no setting", id="not-in-toml"),
        pytest.param("lock_key = true", "lock_key must be a text or a whole number", id="boolean"),
        pytest.param("lock_key = 1.5", "lock_key must be a text or a whole number", id="fraction"),
        pytest.param("migrations = ['a']", "migrations must be a text or a whole", id="a-list"),
        pytest.param("schemas = ['a', 1]", "schemas must be a text or a whole", id="mixed-list"),
        pytest.param("[schemas]\na = 1", "schemas must be a text or a whole", id="a-table"),
        pytest.param("[tool.headwater]\nlock_key = 1", "tool is no setting", id="table-too-many"),
    ],
)
def test_a_fault_in_toml_is_refused(tmp_path: Path, toml: str, fault: str) -> None:
    problem = only_problem(tmp_path, toml=toml)
    assert problem.startswith(f"headwater.toml: {fault}")
    assert CANARY not in problem


def test_a_headwater_in_pyproject_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\nheadwater = 'x'\n", encoding="utf-8")
    assert "must be a table" in only_problem(tmp_path)


def test_a_tool_in_pyproject_that_is_no_table_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("tool = 'x'\n", encoding="utf-8")
    assert load(tmp_path).schemas == ("public",)


def test_an_empty_headwater_toml_lets_pyproject_speak(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.headwater]\nlock_key = 5\n", encoding="utf-8")
    assert load(tmp_path, toml="# nothing yet\n").lock_key == 5


def test_a_bad_value_is_quoted_when_it_cannot_be_a_password(tmp_path: Path) -> None:
    assert "'Kb' is no plain name" in only_problem(tmp_path, {"HEADWATER_SCHEMAS": "Kb"})


def test_only_schemas_may_be_a_list(tmp_path: Path) -> None:
    assert refused(tmp_path, toml="lock_key = [1]\nschemas = [1]") == [
        "headwater.toml: lock_key must be a text or a whole number",
        "headwater.toml: schemas must be a text or a whole number, or a list of texts",
    ]


def test_the_server_for_these_very_tests_may_be_named_in_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    (tmp_path / ".env").write_text("TEST_DATABASE_URL=postgresql://me@elsewhere/app\n")
    server = server_of_tests(tmp_path)
    assert (server.host, server.database) == ("elsewhere", "app")
    assert server.source == "TEST_DATABASE_URL in .env"


def test_a_history_inside_a_schema_that_reset_drops_is_refused(tmp_path: Path) -> None:
    environ = {"HEADWATER_SCHEMAS": "kb,ops", "HEADWATER_HISTORY_TABLE": "ops.history"}
    assert "ops.history is inside a schema that reset drops" in only_problem(tmp_path, environ)


def test_a_managed_public_may_hold_the_history(tmp_path: Path) -> None:
    assert load(tmp_path, {"HEADWATER_SCHEMAS": "public"}).history == "public.schema_migrations"


def test_a_misspelled_variable_is_refused_where_it_stands(tmp_path: Path) -> None:
    problems = refused(
        tmp_path, {"HEADWATER_SCHEMA": "kb", "HEADWATERS": "x"}, dotenv="HEADWATER_LOCKKEY=5"
    )
    assert problems == [
        "HEADWATER_SCHEMA in the environment is no setting",
        "HEADWATER_LOCKKEY in .env is no setting",
    ]


# --- which database ---------------------------------------------------------------------------


def test_database_url_wins_over_the_variables_of_libpq(tmp_path: Path) -> None:
    choice = database_of(load(tmp_path, {"PGHOST": "h"}, dotenv=f"DATABASE_URL={URL}"))
    assert choice == DatabaseChoice(source="DATABASE_URL in .env", url=URL)


@pytest.mark.parametrize(
    ("name", "keyword"), [("PGHOST", "host"), ("PGSERVICE", "service"), ("PGDATABASE", "dbname")]
)
def test_a_variable_of_libpq_that_names_a_database_is_the_choice(
    tmp_path: Path, name: str, keyword: str
) -> None:
    choice = database_of(load(tmp_path, {name: "x", "PGUSER": "me"}))
    assert choice.source == f"{name} in the environment"
    assert choice.keywords == {keyword: "x", "user": "me"}
    assert choice.url == ""


def test_a_variable_of_libpq_that_names_no_database_is_no_choice(tmp_path: Path) -> None:
    environ = {"PGUSER": "me", "PGPORT": "5433", "PGPASSWORD": "x", "PGOPTIONS": "-c a=b"}
    assert load(tmp_path, environ).database is None


def test_variables_of_libpq_are_merged_and_each_is_told_with_its_place(tmp_path: Path) -> None:
    dotenv = "PGHOST=written\nPGDATABASE=app\nPGPASSWORD=x\nPGREQUIREAUTH=scram-sha-256"
    choice = database_of(load(tmp_path, {"PGHOST": "exported"}, dotenv=dotenv))
    assert choice.source == "PGHOST in the environment and PGDATABASE in .env"
    assert choice.keywords == {
        "host": "exported",
        "dbname": "app",
        "password": "x",
        "require_auth": "scram-sha-256",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("PGDATABASE", f"postgresql://u:{CANARY}@h/d", id="url-as-database"),
        pytest.param("PGDATABASE", f"host=h password={CANARY}", id="parameters-as-database"),
        pytest.param("PGHOST", f"postgresql://u:{CANARY}@h/d", id="url-as-host"),
        pytest.param("PGUSER", f"postgresql://u:{CANARY}@h/d", id="url-as-user"),
        pytest.param("PGPASSWORD", f"{CANARY}\udce9", id="bytes-as-password"),
    ],
)
def test_a_variable_of_libpq_that_would_be_shown_with_a_password_is_refused(
    tmp_path: Path, name: str, value: str
) -> None:
    environ = {"PGSERVICE": "s", name: value}
    problem = only_problem(tmp_path, environ)
    assert problem.startswith(f"{name} in the environment: ")
    assert CANARY not in problem


def test_a_password_may_look_like_a_url(tmp_path: Path) -> None:
    choice = database_of(load(tmp_path, {"PGHOST": "h", "PGPASSWORD": "a://b=c"}))
    assert choice.keywords["password"] == "a://b=c"


def test_a_pgdatabase_that_holds_a_url_in_dotenv_is_refused_with_its_place(tmp_path: Path) -> None:
    problem = only_problem(tmp_path, {"PGHOST": "h"}, dotenv=f"PGDATABASE={URL}")
    assert problem == "PGDATABASE in .env: a URL belongs in DATABASE_URL"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres://localhost",
        "postgresql:///app",
        "postgresql://app:p%40ss%2Fword@db.example:5432/app",
        "postgresql://app:a:b@h/app",
        "postgresql://a%20b:%C3%A9@h/d",
        "postgresql://h1:5432,h2:5433/app?target_session_attrs=read-write",
        "postgresql://[::1]:5432/app",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/app",
        "postgresql:///app?host=/var/run/postgresql&user=me",
        "postgresql://h/app?options=-csearch_path%3Dkb",
        "postgresql://h/app?sslmode=verify-full",
        "postgresql://h:1/app",
        "postgresql://h:65535/app",
    ],
)
def test_a_good_url_has_no_fault(tmp_path: Path, url: str) -> None:
    assert faults_of_url(url) == []
    assert database_of(load(tmp_path, {"DATABASE_URL": url})).url == url


# --- passwords --------------------------------------------------------------------------------

MALFORMED = [
    pytest.param("canary", id="no-url"),
    pytest.param("postgresql", id="scheme-alone"),
    pytest.param("host=h user=u password=canary", id="parameters"),
    pytest.param("mysql://u:canary@h/d", id="other-scheme"),
    pytest.param("postgresql+psycopg://u:canary@h/d", id="driver-in-scheme"),
    pytest.param("POSTGRESQL://u:canary@h/d", id="upper-case-scheme"),
    pytest.param("postgresql:/u:canary@h/d", id="one-slash"),
    pytest.param("'postgresql://u:canary@h/d'", id="quotes-of-a-shell"),
    pytest.param("postgresql://u:canary%zz@h/d", id="no-escape"),
    pytest.param("postgresql://u:canary%@h/d", id="percent-sign"),
    pytest.param("postgresql://u:canary%00@h/d", id="escaped-nul"),
    pytest.param("postgresql://u:canary%FF@h/d", id="escape-is-no-utf-8"),
    pytest.param("postgresql://u:canary\udce9@h/d", id="byte-that-is-no-text"),
    pytest.param("postgresql://u:can ary@h/d", id="blank-inside"),
    pytest.param(" postgresql://u:canary@h/d", id="blank-before"),
    pytest.param("postgresql://u:canary@h/d\n", id="line-end-behind"),
    pytest.param("postgresql://u:canary\x00@h/d", id="nul"),
    pytest.param("postgresql://u:canary@[::1/d", id="open-bracket"),
    pytest.param("postgresql://u:canary/x@h/d", id="slash-in-password"),
    pytest.param("postgresql://u:12/canary@h", id="slash-behind-digits-in-password"),
    pytest.param("postgresql://u:canary?x@h/d", id="question-mark-in-password"),
    pytest.param("postgresql://u:12?a=canary@h/d", id="question-mark-behind-digits-in-password"),
    pytest.param("postgresql://u:canary@x@h/d", id="at-sign-in-password"),
    pytest.param("postgresql://u:x@canary@h/d", id="at-sign-early-in-password"),
    pytest.param("postgresql://u:canary", id="host-forgotten"),
    pytest.param("postgresql://u:canary/d", id="host-forgotten-with-database"),
    pytest.param("postgresql://u:canary@h:port/d", id="port-is-a-word"),
    pytest.param("postgresql://u:canary@h:0/d", id="port-zero"),
    pytest.param("postgresql://u:canary@h:65536/d", id="port-too-large"),
    pytest.param(f"postgresql://u:canary@h:{'9' * 5000}/d", id="port-endless"),
    pytest.param("postgresql://u:canary@h/d/e", id="two-databases"),
    pytest.param("postgresql://u@h/d?password=canary&sslmode", id="parameter-without-value"),
    pytest.param("postgresql://u@h/d?password=can=canary", id="parameter-with-two-values"),
]


def texts_of(error: BaseException | None) -> Iterator[str]:
    """Give everything that anybody could print of an error and of what led to it."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield from traceback.format_exception(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("name", ["DATABASE_URL", "HEADWATER_SCRATCH_URL", "TEST_DATABASE_URL"])
@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_is_refused_without_its_password(
    tmp_path: Path, name: str, url: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {name: url})
    assert f"{name} in the environment: " in caught.value.detail
    for text in texts_of(caught.value):
        assert CANARY not in text
        assert "can ary" not in text


@pytest.mark.parametrize("name", [v.name for v in VARIABLES if v.name.startswith("HEADWATER_")])
@pytest.mark.parametrize(
    "value", ["postgresql://u:canary@h/d", "host=h password=canary", "u:canary@h"]
)
def test_a_url_in_the_wrong_variable_is_not_quoted(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {"HEADWATER_SCHEMAS": "Kb", name: value})
    assert CANARY not in "".join(texts_of(caught.value))


def test_settings_do_not_show_passwords(tmp_path: Path) -> None:
    secret = f"postgresql://u:{CANARY}@h/d"
    settings = load(
        tmp_path,
        {"HEADWATER_SCRATCH_URL": secret, "TEST_DATABASE_URL": secret},
        dotenv=f"PGHOST=h\nPGPASSWORD={CANARY}",
    )
    assert database_of(settings).keywords["password"] == CANARY
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings)


# --- .env.example -----------------------------------------------------------------------------


def test_the_example_lists_every_variable_with_what_it_means() -> None:
    listed = re.findall(r"^# (.+)\n# ([A-Z_]+)=(.+)$", EXAMPLE.read_text("utf-8"), re.MULTILINE)
    assert listed == [(v.meaning, v.name, v.example) for v in VARIABLES]


def test_every_line_of_the_example_is_commented_out() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("# ")] == []


def test_every_example_is_a_good_value(tmp_path: Path) -> None:
    text = re.sub(r"^# ([A-Z_]+=)", r"\1", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    settings = load(tmp_path, dotenv=text)
    assert database_of(settings).source == "DATABASE_URL in .env"
    assert settings.schemas == ("kb", "core")
    assert settings.lock_key == DEFAULT_LOCK_KEY


# --- limits on the command line ---------------------------------------------------------------


def test_a_limit_on_the_command_line_goes_before_the_setting(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, migrations=tmp_path)
    limited = with_limits(settings, wait_lock="0s", wait_concurrently="3min")
    assert (limited.wait_lock_ms, limited.wait_concurrently_ms) == (0, 180_000)
    assert with_limits(settings, wait_lock="", wait_concurrently="") == settings


@pytest.mark.parametrize("limits", [("soon", ""), ("", "0s"), ("", "10")])
def test_a_limit_that_is_no_duration_is_refused(tmp_path: Path, limits: tuple[str, str]) -> None:
    settings = Settings(root=tmp_path, migrations=tmp_path)
    with pytest.raises(SettingsError, match="a limit on the command line") as caught:
        with_limits(settings, wait_lock=limits[0], wait_concurrently=limits[1])
    assert "--wait-lock 10min" in caught.value.hint


# --- the application of the tests -------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["pg_monitor", "none", "x" * 64, "é" * 32, "a\tb", " ", "postgresql://u:canary@h/d"]
)
def test_what_no_application_may_be_is_no_role(tmp_path: Path, text: str) -> None:
    problem = only_problem(tmp_path, {"HEADWATER_APPLICATION_ROLE": text})
    assert problem.startswith("HEADWATER_APPLICATION_ROLE in the environment: ")
    assert CANARY not in problem


@pytest.mark.parametrize("text", ["app_rls", "App-User", "é" * 31, "42"])
def test_a_role_may_have_any_name(tmp_path: Path, text: str) -> None:
    settings = load(tmp_path, {"HEADWATER_APPLICATION_ROLE": text})
    assert settings.application_role == text


@pytest.mark.parametrize(
    "text",
    [
        "tenant",
        "{}",
        "app.tenant",
        "app.{}_{}",
        "app.{",
        "app. {}",
        "app-1.{}",
        ".{}",
        "app.{}.",
        "postgresql://u:canary@h/{}",
    ],
)
def test_settings_of_a_context_have_one_place_for_a_name(tmp_path: Path, text: str) -> None:
    problem = only_problem(tmp_path, {"HEADWATER_APPLICATION_SETTING": text})
    assert "is no qualified name with one {} in it" in problem
    assert CANARY not in problem


@pytest.mark.parametrize("text", ["tenancy.{}", "{}.id", "app.a.current_{}_id"])
def test_settings_of_a_context_may_have_other_names(tmp_path: Path, text: str) -> None:
    settings = load(tmp_path, {"HEADWATER_APPLICATION_SETTING": text})
    assert settings.application_setting == text
