"""`lint --fix`: the safe sequence as files, drafted from texts, proved on a server, then written.

The cases are data (`tests/lint/fixes/cases.toml`): what is pending, and what must become of it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headwater.checks import fixing
from headwater.checks.fixing import draft_fixes, fix, prove, write_fixes
from headwater.checks.fixing_drafts import with_fixes
from headwater.checks.fixing_names import chosen_name
from headwater.checks.linting import lint
from headwater.checks.scratch import ScratchServer
from headwater.errors import FilesError, HistoryError, TargetError
from headwater.files.git import unsaved
from headwater.files.read import read_folder
from headwater.model import MigrationFolder, Severity, Target
from headwater.postgres.connect import connect
from headwater.postgres.databases import locale_of
from headwater.postgres.run import migrate
from headwater.report.changes import describe
from headwater.settings import Settings
from headwater.verdicts import CheckLine, FixedFile, Fixes, Outcome
from tests.repositories import Repository
from tests.support import folder_with, migrated, query, recorded, write_files

TODAY = date(2026, 7, 1)
BASE = "0001_base"
_DATA = tomllib.loads((Path(__file__).parent / "lint/fixes/cases.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FixCase:
    """Pending files, and what must become of them."""

    name: str
    before: dict[str, str]
    after: dict[str, str]
    version: int = 18
    left: list[str] = field(default_factory=list)


CASES = [FixCase(**case) for case in _DATA["case"]]
FIXED = [case for case in CASES if case.after]

# What lint says of texts that a fix puts right.
FIXABLE = {
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
    "constraint-missing-not-valid",
    "adding-foreign-key-constraint",
}


def folder_of(case: FixCase, path: Path) -> MigrationFolder:
    write_files(path, {f"{BASE}.sql": _DATA["base"]} | case.before)
    folder = read_folder(path)
    assert folder.findings == ()
    return folder


def drafted(folder: MigrationFolder, version: int = 18) -> Fixes:
    pending = [m.version for m in folder.migrations if m.version != BASE]
    return draft_fixes(folder, pending, version=version, today=TODAY)


def files_of(fixes: Fixes) -> dict[str, str]:
    return {file.name: file.text for file in (*fixes.replaced, *fixes.added)}


def sentences(fixes: Fixes) -> list[str]:
    return [f"{f.line}: {f.message.removeprefix('left as it is: ')}" for f in fixes.left]


# --- the corpus -------------------------------------------------------------------------------


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_becomes_what_it_must(case: FixCase, tmp_path: Path) -> None:
    fixes = drafted(folder_of(case, tmp_path), case.version)
    assert files_of(fixes) == case.after
    assert sentences(fixes) == case.left
    assert {file.name for file in fixes.replaced} <= case.before.keys()
    assert not {file.name for file in fixes.added} & case.before.keys()


@pytest.mark.parametrize("case", FIXED, ids=lambda case: case.name)
def test_a_fixed_folder_is_sound_lints_clean_and_has_nothing_left_to_fix(
    case: FixCase, tmp_path: Path
) -> None:
    folder = folder_of(case, tmp_path)
    write_fixes(folder, drafted(folder, case.version))
    again = read_folder(tmp_path)
    assert again.findings == ()
    assert {m.version for m in again.migrations} >= {m.version for m in folder.migrations}
    findings = lint(again, [m.version for m in again.migrations if m.version != BASE]).findings
    assert [f for f in findings if f.severity is Severity.ERROR] == []
    if not case.left:
        assert [f for f in findings if f.rule in FIXABLE] == []
    second = drafted(again, case.version)
    assert (files_of(second), len(second.left)) == ({}, len(case.left))


def together(path: Path, *, undone: bool) -> MigrationFolder:
    """Put the cases into one folder, each with a schema and descriptions of its own.

    Those that are undone stand apart: each is tried on a clone of the whole database.
    """
    for number, case in enumerate(FIXED):
        fits = case.version == 18 and all(name.startswith("202") for name in case.before)
        if not fits or undone != any(".down." in name for name in case.after):
            continue
        files = {f"0{number:03}_base{number}.sql": _DATA["base"]} | {
            name.replace("_", f"_case{number}_", 1): text for name, text in case.before.items()
        }
        write_files(path, {n: re.sub(r"\bapp\b", f"c{number}", t) for n, t in files.items()})
    folder = read_folder(path)
    assert folder.findings == ()
    return folder


@pytest.mark.parametrize("undone", [False, True], ids=["migrated", "undone"])
def test_every_fix_of_the_corpus_is_proved_on_a_server(
    target: Target, settings: Settings, undone: bool
) -> None:
    folder = together(settings.migrations, undone=undone)
    done = fix(target, folder, settings, today=TODAY)
    assert done.proof
    told = [describe(change) for change in done.proof.changes]
    assert (done.proof.outcome, told, done.proof.findings) == (Outcome.OK, [], ())
    assert done.written
    assert len(done.fixes.replaced) >= (3 if undone else 30)
    again = read_folder(settings.migrations)
    new = [file for file in done.fixes.added if ".down." not in file.name]
    assert (again.findings, len(again.migrations)) == ((), len(folder.migrations) + len(new))


# --- the whole of it --------------------------------------------------------------------------

ONE = "20260101_status"
FILES = {
    f"{BASE}.sql": "create schema app;\ncreate table app.t (id bigint, a integer);\n",
    f"{ONE}.sql": "alter table app.t add constraint c check (a > 0);\n",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_fixed_and_migrated_is_what_it_would_have_been(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, {f"{BASE}.sql": FILES[f"{BASE}.sql"]})
    folder = folder_with(settings, FILES)
    done = fix(target, folder, settings, today=TODAY)
    assert (done.written, done.exit_code) == (True, 0)
    assert recorded(target, settings) == [BASE]
    fixed = read_folder(settings.migrations)
    migrate(target, fixed, settings)
    assert recorded(target, settings) == [BASE, ONE, f"{ONE}_validate"]
    assert query(target, "select conname, convalidated from pg_constraint where conname = 'c'") == [
        ("c", True)
    ]
    again = fix(target, fixed, settings, today=TODAY)
    assert (again.fixes, again.proof, again.exit_code) == (Fixes(), None, 0)


def test_an_applied_file_is_never_touched(target: Target, settings: Settings) -> None:
    migrated(target, settings, FILES)
    folder = read_folder(settings.migrations)
    before = contents(settings.migrations)
    assert not fix(target, folder, settings, today=TODAY).fixes.changes
    with pytest.raises(HistoryError, match=f"{ONE}: only what is pending"):
        fix(target, folder, settings, [ONE], today=TODAY)
    assert contents(settings.migrations) == before


def test_only_the_versions_that_are_named_are_fixed(target: Target, settings: Settings) -> None:
    two = {"20260102_more.sql": "alter table app.t add constraint d check (a < 9);\n"}
    folder = folder_with(settings, FILES | two)
    done = fix(target, folder, settings, ["20260102_more"], today=TODAY)
    assert [file.name for file in done.fixes.replaced] == ["20260102_more.sql"]


NOT_THE_SAME = {
    # PostgreSQL looks for the name in the whole schema, and chooses t_a_not_null1.
    "another name": (
        "create table app.x (a integer constraint t_a_not_null check (a > 0));\n",
        "alter table app.t alter a set not null;\n",
        Outcome.FOUND,
    ),
    "a name that is there": (
        "alter table app.t add check (a > 0);\n",
        "alter table app.t add check (a > 1);\n",
        Outcome.FAILED,
    ),
    "files that do not build": (
        "select 1;\n",
        "alter table app.nowhere add check (a > 1);\n",
        Outcome.FAILED,
    ),
}


@pytest.mark.parametrize("name", NOT_THE_SAME)
def test_what_is_not_proved_is_not_written_and_what_differs_is_told(
    target: Target, settings: Settings, name: str
) -> None:
    base, text, outcome = NOT_THE_SAME[name]
    files = {f"{BASE}.sql": FILES[f"{BASE}.sql"] + base, f"{ONE}.sql": text}
    folder = folder_with(settings, files)
    before = contents(settings.migrations)
    done = fix(target, folder, settings, today=TODAY)
    assert done.proof
    assert (done.proof.outcome, done.written, done.exit_code) == (outcome, False, 1)
    assert done.proof.changes or done.proof.findings
    assert contents(settings.migrations) == before


def test_an_undo_that_does_not_fit_the_steps_is_not_written(
    target: Target, settings: Settings
) -> None:
    down = (
        "select 1 / count(*) from pg_constraint where conname = 'c' and convalidated;\n"
        "alter table app.t drop constraint c;\n"
    )
    folder = folder_with(settings, FILES | {f"{ONE}.down.sql": down})
    before = contents(settings.migrations)
    done = fix(target, folder, settings, today=TODAY)
    assert done.proof
    assert (done.proof.summary, done.written, done.exit_code) == (
        "the down files do not undo the fixed files",
        False,
        1,
    )
    assert [finding.file for finding in done.proof.findings] == [f"{ONE}.down.sql"]
    assert contents(settings.migrations) == before


def test_files_with_problems_are_not_fixed(target: Target, settings: Settings) -> None:
    folder = folder_with(settings, FILES)
    (settings.migrations / "Bad.sql").write_text("select 1;\n")
    with pytest.raises(FilesError, match="1 problem in the migrations; nothing was fixed"):
        fix(target, read_folder(settings.migrations), settings, today=TODAY)
    refused = folder_with(settings, FILES | {"20260102_x.sql": "commit;\n"})
    with pytest.raises(FilesError, match="nothing was fixed"):
        fix(target, refused, settings, today=TODAY)
    assert folder.migrations == refused.migrations[:2]


def test_without_a_place_for_scratch_databases_nothing_is_proved_and_nothing_written(
    target: Target, settings: Settings
) -> None:
    roles = {"20251231_role.sql": "alter system set work_mem = '5MB';\n"}
    folder = folder_with(
        settings, FILES | {n: f"-- headwater: no-transaction\n{t}" for n, t in roles.items()}
    )
    before = contents(settings.migrations)
    with pytest.raises(TargetError, match="fixing: not possible without a scratch database"):
        fix(target, folder, settings, today=TODAY)
    assert contents(settings.migrations) == before


def test_what_is_drafted_for_an_older_server_is_proved_on_a_newer_one(
    target: Target, settings: Settings
) -> None:
    files = FILES | {f"{ONE}.sql": "alter table app.t alter a set not null;\n"}
    folder = folder_with(settings, files)
    fixed = with_fixes(folder, draft_fixes(folder, [ONE], version=15, today=TODAY))
    with connect(target, purpose="test") as connection:
        locale = locale_of(connection)
    proof = prove(ScratchServer(target=target, ours=True), folder, fixed, settings, locale)
    assert [describe(change) for change in proof.changes] == []
    assert proof.outcome is Outcome.OK


MIXED = """-- Several steps.
alter table app.t add constraint c check (a > 0);
alter table app.t alter id set not null;
alter table app.t add constraint k unique (a);
create index t_id_idx on app.t (id);
"""


def test_every_version_of_postgresql_is_given_what_it_knows(
    versioned: Target, settings: Settings
) -> None:
    folder = folder_with(settings, FILES | {f"{ONE}.sql": MIXED})
    done = fix(versioned, folder, settings, today=TODAY)
    assert done.proof
    assert (done.proof.summary, done.proof.changes) == ("both build the same schema", ())
    assert done.written
    migrate(versioned, read_folder(settings.migrations), settings)
    assert query(versioned, "select bool_and(convalidated) from pg_constraint") == [(True,)]


# --- writing ----------------------------------------------------------------------------------


def written(path: Path) -> tuple[MigrationFolder, Fixes]:
    write_files(path, FILES)
    folder = read_folder(path)
    return folder, draft_fixes(folder, [ONE], version=18, today=TODAY)


def require_untouched(folder: MigrationFolder, fixes: Fixes, words: str) -> None:
    before = contents(folder.path)
    with pytest.raises(FilesError, match=words):
        write_fixes(folder, fixes)
    assert contents(folder.path) == before


def test_a_new_file_is_never_written_over_another(tmp_path: Path) -> None:
    folder, fixes = written(tmp_path)
    (tmp_path / f"{ONE}_validate.sql").write_text("select 1;\n")
    require_untouched(folder, fixes, f"{ONE}_validate.sql cannot be written")


def test_a_file_that_has_changed_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    folder, fixes = written(tmp_path)
    (tmp_path / f"{ONE}.sql").write_text("select 1;\n")
    require_untouched(folder, fixes, f"{ONE}.sql has changed meanwhile")
    (tmp_path / f"{ONE}.sql").unlink()
    require_untouched(folder, fixes, f"{ONE}.sql has changed meanwhile")


def test_a_file_that_migrate_would_refuse_is_left_to_lint(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    for text in ("create index i on app.t (a);\ncommit;\n", "create indx i on app.t (a);\n"):
        write_files(tmp_path, {f"{ONE}.sql": text})
        folder = read_folder(tmp_path)
        assert draft_fixes(folder, [ONE], version=18, today=TODAY) == Fixes()


def test_only_files_that_are_pending_are_drafted(tmp_path: Path) -> None:
    folder, fixes = written(tmp_path)
    assert fixes.changes
    assert draft_fixes(folder, [BASE], version=18, today=TODAY) == Fixes()


def test_after_a_failure_all_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, fixes = written(tmp_path)
    more = FixedFile(name=f"{BASE}.sql", text="select 2;\n")
    both = replace(fixes, replaced=(*fixes.replaced, more))
    replace_in_place = Path.replace

    def failing(beside: Path, path: Path) -> Path:
        if path.name == f"{BASE}.sql":  # the second one
            raise OSError(28, "No space left on device")
        return replace_in_place(beside, path)

    monkeypatch.setattr(Path, "replace", failing)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    with pytest.raises(FilesError, match=f"{BASE}.sql cannot be written; nothing was fixed"):
        write_fixes(folder, both)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_what_a_killed_run_has_left_beside_a_file_stops_no_later_fix(tmp_path: Path) -> None:
    folder, fixes = written(tmp_path)
    (tmp_path / f".{ONE}.sql.new").write_text("half of it")
    write_fixes(folder, fixes)
    assert "not valid" in (tmp_path / f"{ONE}.sql").read_text()


def test_line_ends_byte_order_mark_and_mode_stay(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    path = tmp_path / f"{ONE}.sql"
    path.write_bytes(
        b"\xef\xbb\xbf-- \xc3\xa9\r\nalter table app.t add constraint c check (a > 0);\r\n"
    )
    path.chmod(0o640)
    folder = read_folder(tmp_path)
    write_fixes(folder, draft_fixes(folder, [ONE], version=18, today=TODAY))
    assert path.read_bytes() == (
        b"\xef\xbb\xbf-- \xc3\xa9\r\n"
        b"alter table app.t add constraint c check (a > 0) not valid;\r\n"
    )
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_with_line_ends_of_two_sorts_is_not_replaced(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    (tmp_path / f"{ONE}.sql").write_bytes(
        b"-- a\r\nalter table app.t add constraint c check (a > 0);\n"
    )
    folder = read_folder(tmp_path)
    fixes = draft_fixes(folder, [ONE], version=18, today=TODAY)
    require_untouched(folder, fixes, "line ends of two sorts")


# --- names ------------------------------------------------------------------------------------

LONG = "a_table_whose_name_is_as_long_as_a_name_can_be_in_postgresql_ok"
COLUMN = "a_column_that_is_rather_long_as_well_but_not_as_long"

NAMES = [
    ("t", ("a",), "check", "add check (a > 0)"),
    ("t", (), "check", f"add check (a > {COLUMN})"),
    ("t", ("a", COLUMN), "key", f"add unique (a, {COLUMN})"),
    ("t", ("a", COLUMN), "fkey", f"add foreign key (a, {COLUMN}) references u"),
    ("t", (), "pkey", "add primary key (a)"),
    (LONG, ("a",), "check", "add check (a > 0)"),
    (LONG, (COLUMN,), "check", f"add check ({COLUMN} > 0)"),
    (LONG, (COLUMN, "a"), "key", f"add unique ({COLUMN}, a)"),
    (LONG, (COLUMN, "a"), "fkey", f"add foreign key ({COLUMN}, a) references u"),
    (LONG, (), "pkey", "add primary key (a)"),
]


def test_names_are_those_that_postgresql_chooses(target: Target) -> None:
    assert len(LONG) == 63
    with psycopg.connect(target.conninfo) as connection:
        for table, columns, label, command in NAMES:
            connection.execute(
                f"create table u (x int, y int, primary key (x, y)); "
                f"create table {table} (a int, {COLUMN} int); "
                f"alter table {table} {command}".encode()
            )
            [chosen] = connection.execute(
                "select conname from pg_constraint where conrelid = %s::regclass "
                "and contype <> 'n'",
                [table],
            ).fetchall()
            assert chosen == (chosen_name(table, columns, label, ()),)
            connection.rollback()


def test_a_name_that_would_be_cut_inside_a_character_is_left_to_postgresql() -> None:
    assert chosen_name("ä" * 40, (), "check", ()) == ""
    assert chosen_name("ä", ("b",), "check", {"ä_b_check"}) == "ä_b_check1"


# --- what is not lost -------------------------------------------------------------------------

CHECKED = {
    f"{BASE}.sql": "create schema app;\ncreate table app.t (a int);\n",
    "20260101_more.sql": "alter table app.t add constraint c check (a > 0);\n",
}


def test_a_file_that_was_applied_meanwhile_stays_as_it_was(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with(settings, CHECKED)
    migrate(target, folder, settings, to=BASE)
    whole = fixing.prove

    def prove_while_others_migrate(*arguments: Any, **named: Any) -> CheckLine:
        migrate(target, folder, settings)
        return whole(*arguments, **named)

    monkeypatch.setattr(fixing, "prove", prove_while_others_migrate)
    with pytest.raises(HistoryError, match="20260101_more was applied meanwhile"):
        fix(target, folder, settings, today=TODAY)
    assert {m.version: m.text for m in read_folder(folder.path).migrations} == {
        m.version: m.text for m in folder.migrations
    }


def test_what_git_does_not_have_is_not_written_over(target: Target, settings: Settings) -> None:
    folder = folder_with(settings, CHECKED)
    migrate(target, folder, settings, to=BASE)
    repository = Repository(settings.migrations)
    repository.git("init", "--quiet")
    with pytest.raises(FilesError, match=r"20260101_more\.sql: not in git as it is now"):
        fix(target, folder, settings, today=TODAY)
    repository.git("add", ".")
    assert fix(target, folder, settings, today=TODAY).written
    path = settings.migrations / "20260101_more.sql"
    assert unsaved(settings.migrations, [path.name]) == (path.name,)
