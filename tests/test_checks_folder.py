"""The folder as a whole: late files and the lock file, found where they are wrong."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from headwater.checks.folder import base_findings, lock_findings
from headwater.checks.linting import lint
from headwater.checks.rules import BY_ID
from headwater.checks.rules.folder import FOLDER
from headwater.checks.rules.rule import Rule
from headwater.files.lockfile import LOCK, write_lock
from headwater.files.read import read_folder
from headwater.model import Finding, Layer, Severity
from tests.repositories import Repository, made
from tests.support import write_files

TODAY = date(2026, 3, 9)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A main with two migrations, and a branch of it."""
    repository = made(tmp_path)
    repository.write(_0001_init="select 0;\n", _20260302_b="select 2;\n")
    repository.commit()
    repository.git("checkout", "--quiet", "-b", "work")
    return repository


def findings(repository: Repository, ref: str = "main") -> tuple[Finding, ...]:
    return base_findings(read_folder(repository.migrations), repository.root, ref, today=TODAY)


def found(repository: Repository) -> list[tuple[str, str]]:
    return [(finding.rule, finding.file) for finding in findings(repository)]


def hint(repository: Repository) -> str:
    [finding] = findings(repository)
    return finding.hint


# --- late files -------------------------------------------------------------------------------


def test_a_new_file_behind_all_of_the_base_is_right(repository: Repository) -> None:
    assert findings(repository) == ()
    repository.write(_20260303_c="select 3;\n", _20260302_bb="select 3;\n")
    assert findings(repository) == ()


def test_a_new_file_of_an_earlier_day_is_late_and_says_what_to_type(
    repository: Repository,
) -> None:
    repository.write(_20260301_a="-- A.\nselect 1;\n")
    [finding] = findings(repository)
    assert (finding.rule, finding.severity, finding.file) == (
        "late-file",
        Severity.ERROR,
        "20260301_a.sql",
    )
    assert (finding.line, finding.column, finding.source) == (1, 1, "-- A.")
    assert finding.hint == "invoke migration.redate 20260301_a"
    assert "main holds 20260302_b" in finding.message
    assert finding.why
    assert finding.layer is Layer.TEXT


def test_a_file_is_late_when_the_base_has_gone_on_meanwhile(repository: Repository) -> None:
    repository.write(_20260303_c="select 3;\n")
    repository.commit()
    repository.git("checkout", "--quiet", "main")
    repository.write(_20260304_d="select 4;\n")
    repository.commit()
    repository.git("checkout", "--quiet", "work")
    assert found(repository) == [("late-file", "20260303_c.sql")]


def test_an_earlier_name_of_the_same_day_is_told_and_no_more(repository: Repository) -> None:
    repository.write(_20260302_a="select 1;\n")
    [finding] = findings(repository)
    assert (finding.rule, finding.severity) == ("same-day", Severity.INFO)
    assert "invoke migration.redate 20260302_a" in finding.hint


def test_where_today_s_date_would_not_do_the_hint_says_what_would(tmp_path: Path) -> None:
    numbered = made(tmp_path / "numbered")
    numbered.write(_0001_a="select 1;\n", _0003_c="select 3;\n")
    numbered.commit()
    numbered.write(_0002_b="select 2;\n")
    assert hint(numbered) == "give it the next number: 0004_b.sql"
    numbered.write(_20260301_d="select 4;\n")
    numbered.commit()
    numbered.write(_0004_e="select 5;\n")
    assert hint(numbered) == "give it a date: 20260309_e.sql"
    numbered.remove("0004_e")
    numbered.write(_20990101_f="select 6;\n")
    numbered.commit()
    numbered.write(_20260309_g="select 7;\n")
    assert hint(numbered).startswith("give it a date from 20990101 on")


# --- what a base holds must stay --------------------------------------------------------------


def test_an_edited_file_of_the_base_is_found_whatever_the_edit(repository: Repository) -> None:
    repository.write(_20260302_b="select 2; -- two\n")
    [finding] = findings(repository)
    assert (finding.rule, finding.file, finding.severity) == (
        "edited-since-base",
        "20260302_b.sql",
        Severity.ERROR,
    )
    assert finding.hint.startswith("git checkout main -- migrations/20260302_b.sql")
    repository.git(*finding.hint.partition(";")[0].split()[1:])
    assert findings(repository) == ()


def test_line_ends_and_what_undoes_a_file_may_change(repository: Repository) -> None:
    (repository.migrations / "20260302_b.sql").write_bytes(b"select 2;\r\n")
    repository.write(**{"_20260302_b.down": "select 1;\n"})
    assert findings(repository) == ()


def test_a_branch_that_is_behind_has_neither_edited_nor_removed_anything(
    repository: Repository,
) -> None:
    repository.git("checkout", "--quiet", "main")
    repository.write(_20260302_b="select 22;\n", _20260303_c="select 3;\n")
    repository.commit()
    repository.git("checkout", "--quiet", "work")
    assert findings(repository) == ()


def test_a_file_that_both_sides_added_differently_is_an_edited_one(
    repository: Repository,
) -> None:
    repository.git("checkout", "--quiet", "main")
    repository.write(_20260303_c="select 3;\n")
    repository.commit()
    repository.git("checkout", "--quiet", "work")
    repository.write(_20260303_c="select 33;\n")
    assert found(repository) == [("edited-since-base", "20260303_c.sql")]


def test_a_removed_file_of_the_base_is_found_with_the_way_back(repository: Repository) -> None:
    repository.remove("20260302_b")
    [finding] = findings(repository)
    assert (finding.rule, finding.file, finding.line) == ("removed-since-base", "20260302_b.sql", 0)
    assert finding.message.startswith("20260302_b.sql was removed; main holds it")
    repository.git(*finding.hint.partition(";")[0].split()[1:])
    assert findings(repository) == ()


@pytest.mark.parametrize("text", ["select 2;\n", "select 22;\n"], ids=["same", "edited too"])
def test_a_renamed_file_is_a_removed_one_and_says_what_it_is_called_now(
    repository: Repository, text: str
) -> None:
    repository.remove("20260302_b")
    repository.write(_20260305_b=text)
    [finding] = findings(repository)
    assert finding.rule == "removed-since-base"
    assert "was renamed to 20260305_b.sql" in finding.message
    assert finding.hint.endswith("and remove 20260305_b.sql")


def test_what_the_base_has_removed_itself_is_no_finding(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "main")
    repository.remove("20260302_b")
    repository.commit()
    repository.git("checkout", "--quiet", "work")
    assert findings(repository) == ()
    repository.remove("20260302_b")
    assert findings(repository) == ()


def test_a_file_that_cannot_be_read_is_not_called_removed(repository: Repository) -> None:
    (repository.migrations / "20260302_b.sql").write_bytes(b"\xff\xfe")
    assert findings(repository) == ()
    assert [f.rule for f in read_folder(repository.migrations).findings] == ["not-utf-8"]


# --- the lock file ----------------------------------------------------------------------------


def test_lint_finds_what_is_wrong_with_the_lock_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"20260302_b.sql": "select 2;\n"})
    assert lint(read_folder(tmp_path)).findings == ()
    write_lock(read_folder(tmp_path))
    assert lint(read_folder(tmp_path)).findings == ()
    write_files(tmp_path, {"20260303_c.sql": "select 3;\n"})
    [finding] = lint(read_folder(tmp_path), []).findings
    assert (finding.rule, finding.file, finding.line, finding.column) == ("lock-stale", LOCK, 5, 1)
    assert finding.hint == "invoke migration.lock"
    assert finding.source.startswith("20260302_b ")
    assert finding.why
    (tmp_path / LOCK).write_text("# of another time\n<<<<<<< HEAD\n")
    [finding] = lint(read_folder(tmp_path), []).findings
    assert (finding.rule, finding.line) == ("lock-conflict", 2)
    assert "invoke migration.lock" in finding.hint
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).mkdir()
    [finding] = lint(read_folder(tmp_path), []).findings
    assert (finding.rule, finding.line, finding.column) == ("lock-malformed", 0, 0)


# --- the rules --------------------------------------------------------------------------------


def story(repository: Repository, example: str) -> list[str]:
    """Make what an example of a rule says, and give the rules that find something in it."""
    said = dict(re.findall(r"^-- ([a-z/. ]+): (.+)$", example, re.MULTILINE))
    if base := said.pop("origin/main", ""):
        write_files(repository.migrations, {base: "select 1;\n"})
    repository.commit()
    repository.git("update-ref", "refs/remotes/origin/main", "HEAD")
    lock = said.pop("migrations.lock", "")
    [(what, name)] = said.items()
    if lock.endswith(".sql"):
        write_files(repository.migrations, {lock: example})
        write_lock(read_folder(repository.migrations))
        (repository.migrations / lock).unlink()
    elif lock:
        write_files(repository.migrations, {LOCK: f"{lock}\n"})
    if what == "the branch removes":
        (repository.migrations / name).unlink()
    else:
        assert what in ("the branch adds", "the branch edits")
        write_files(repository.migrations, {name: example})
    folder = read_folder(repository.migrations)
    assert folder.findings == ()
    found = base_findings(folder, repository.root, "origin/main") + lock_findings(folder)
    return sorted({finding.rule for finding in found})


@pytest.mark.parametrize("rule", FOLDER, ids=lambda rule: rule.id)
def test_a_rule_finds_its_bad_example_and_leaves_its_good_one_alone(
    tmp_path: Path, rule: Rule
) -> None:
    assert story(made(tmp_path / "bad"), rule.bad) == [rule.id]
    assert story(made(tmp_path / "good"), rule.good) == []
    assert BY_ID[rule.id] is rule
    assert (rule.layer, rule.squawk, rule.claim) == (Layer.TEXT, False, None)
    assert rule.why.endswith(".")
    assert not rule.instead.endswith(".")
