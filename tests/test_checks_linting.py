"""Lint as a whole: what is looked at, in which order it is told, and what `allow` takes away."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headwater.checks import squawk
from headwater.checks.linting import lint, severity
from headwater.errors import SettingsError
from headwater.files.read import read_folder
from headwater.model import Finding, Severity
from headwater.verdicts import Linted
from tests.support import write_files

ONE, TWO = "20240101_one.sql", "20240201_two.sql"
DROP = "drop table app.t;\n"


def linted(folder: Path, files: dict[str, str], versions: list[str] | None = None) -> Linted:
    write_files(folder, files)
    return lint(read_folder(folder), versions)


def found(folder: Path, text: str) -> list[tuple[str, int]]:
    """Lint one file, and give rule and line of what was found."""
    return [(f.rule, f.line) for f in linted(folder, {ONE: text}).findings]


def allow(rules: str) -> str:
    return f"-- headwater: allow {rules} because nobody reads it any more\n"


# --- what is looked at ------------------------------------------------------------------------


def test_a_clean_folder_has_no_findings(tmp_path: Path) -> None:
    outcome = linted(tmp_path, {ONE: "create table app.t (id bigint);\n", TWO: "select 1;\n"})
    assert outcome == Linted(findings=(), files=2)


def test_only_the_versions_that_are_named_are_linted(tmp_path: Path) -> None:
    outcome = linted(tmp_path, {ONE: DROP, TWO: DROP}, versions=["20240201_two"])
    assert [finding.file for finding in outcome.findings] == [TWO]
    assert outcome.files == 1


def test_names_are_judged_whatever_versions_are_named(tmp_path: Path) -> None:
    outcome = linted(tmp_path, {"Bad Name.sql": DROP, ONE: DROP}, versions=[])
    assert [(finding.rule, finding.file) for finding in outcome.findings] == [
        ("bad-name", "Bad Name.sql")
    ]


def test_a_file_that_is_no_sql_hides_nothing_of_the_others(tmp_path: Path) -> None:
    outcome = linted(tmp_path, {ONE: "drop tabel app.t;\n", TWO: DROP})
    assert [(f.file, f.rule) for f in outcome.findings] == [
        (ONE, "syntax"),
        (TWO, "ban-drop-table"),
    ]


def test_a_file_without_transaction_is_linted_as_such(tmp_path: Path) -> None:
    text = "-- headwater: no-transaction\ncreate index concurrently i on app.t (a);\n" + DROP
    assert found(tmp_path, text) == [("concurrently-not-alone", 2), ("ban-drop-table", 3)]


def test_an_index_on_a_table_of_the_same_file_blocks_nobody(tmp_path: Path) -> None:
    assert found(tmp_path, "create table app.t (a bigint);\ncreate index i on app.t (a);\n") == []


def test_what_undoes_a_migration_is_read_as_migrate_would_read_it(tmp_path: Path) -> None:
    files = {ONE: "select 1;\n", "20240101_one.down.sql": "drop table app.t;\ncommit;\n"}
    [finding] = linted(tmp_path, files).findings
    assert (finding.file, finding.rule, finding.line) == (
        "20240101_one.down.sql",
        "transaction-control",
        2,
    )
    assert finding.hint
    write_files(tmp_path, {"20240101_one.down.sql": "drop tabel app.t;\n"})
    outcome = lint(read_folder(tmp_path), ["20240101_one"])
    assert [(f.file, f.rule) for f in outcome.findings] == [("20240101_one.down.sql", "syntax")]
    assert lint(read_folder(tmp_path), []).findings == ()


def test_what_undoes_a_migration_may_be_without_a_transaction_by_itself(tmp_path: Path) -> None:
    undo = "-- headwater: no-transaction\ndrop index concurrently app.i;\n"
    files = {ONE: "select 1;\n", "20240101_one.down.sql": undo}
    assert linted(tmp_path, files).findings == ()
    files |= {ONE: "-- headwater: no-transaction\nvacuum;\n"}
    files |= {"20240101_one.down.sql": "vacuum;\n"}
    assert [f.rule for f in linted(tmp_path, files).findings] == ["no-transaction"]


def test_checks_are_read_with_every_file_and_never_beside_named_versions(tmp_path: Path) -> None:
    files = {
        ONE: "select 1;\n",
        "checks/a.sql": "selec 1;\n",
        "checks/b.sql": 'select true as "it holds";\ndelete from app.t;\n',
    }
    outcome = linted(tmp_path, files)
    assert [(f.file, f.rule, f.line) for f in outcome.findings] == [
        ("checks/a.sql", "syntax", 1),
        ("checks/b.sql", "not-a-sentence", 2),
    ]
    assert outcome.files == 3
    assert linted(tmp_path, files, versions=["20240101_one"]).findings == ()


# --- places and order -------------------------------------------------------------------------


def test_findings_come_by_file_line_and_column(tmp_path: Path) -> None:
    outcome = linted(
        tmp_path,
        {
            TWO: DROP,
            ONE: "drop table app.a;\n\nalter table app.b drop column x, drop column y;\n",
        },
    )
    assert [(f.file, f.line, f.column) for f in outcome.findings] == [
        (ONE, 1, 1),
        (ONE, 3, 19),
        (ONE, 3, 34),
        (TWO, 1, 1),
    ]


def test_columns_count_characters_not_bytes(tmp_path: Path) -> None:
    text = 'alter table app."tablé日𝄞" drop column a;\n'
    [finding] = linted(tmp_path, {ONE: text}).findings
    assert finding.column == text.index("drop column") + 1
    assert finding.source == text.rstrip("\n")


def test_columns_are_right_where_lines_end_in_cr_lf_behind_a_byte_order_mark(
    tmp_path: Path,
) -> None:
    text = "\ufeffselect 1;\r\nselect 2; drop table app.t;\r\n"
    [finding] = linted(tmp_path, {ONE: text}).findings
    assert (finding.line, finding.column) == (2, 11)


# --- allow ------------------------------------------------------------------------------------


def test_allow_covers_its_statement_and_no_other(tmp_path: Path) -> None:
    text = f"{allow('ban-drop-table')}{DROP}{DROP}"
    assert found(tmp_path, text) == [("ban-drop-table", 3)]


def test_allow_covers_every_line_of_its_statement(tmp_path: Path) -> None:
    text = "alter table app.t\n    add column b bigint,\n\n    drop column a;\n"
    assert found(tmp_path, allow("ban-drop-column") + text) == []


def test_allow_covers_only_the_rules_that_it_names(tmp_path: Path) -> None:
    text = "alter table app.t drop column a, rename column b to c;\n".replace(
        ", rename column b to c", ", alter column b type bigint"
    )
    assert found(tmp_path, allow("ban-drop-column") + text) == [("changing-column-type", 2)]
    both = allow("ban-drop-column, changing-column-type")
    assert found(tmp_path, both + text) == []


def test_allow_may_stand_above_a_comment(tmp_path: Path) -> None:
    assert found(tmp_path, f"{allow('ban-drop-table')}-- Gone since May.\n\n{DROP}") == []


def test_two_statements_on_one_line_are_told_apart(tmp_path: Path) -> None:
    text = f"{allow('ban-drop-table')}drop table app.a; drop table app.b;\n"
    assert found(tmp_path, text) == [("ban-drop-table", 2)]


def test_allow_without_a_reason_is_an_error_and_allows_nothing(tmp_path: Path) -> None:
    for text in ("allow ban-drop-table", "allow ban-drop-table because", "allow because why"):
        assert found(tmp_path, f"-- headwater: {text}\n{DROP}")[0] == ("directive", 1)


def test_allow_inside_a_string_is_no_directive(tmp_path: Path) -> None:
    text = f"select '\n{allow('ban-drop-table')}';\n{DROP}"
    assert found(tmp_path, text) == [("ban-drop-table", 4)]


def test_an_allow_that_allows_nothing_is_found(tmp_path: Path) -> None:
    outcome = linted(tmp_path, {ONE: f"{allow('ban-drop-table')}select 1;\n"})
    [finding] = outcome.findings
    assert (finding.rule, finding.severity, finding.line) == ("unused-allow", Severity.WARNING, 1)
    assert finding.message == "allow ban-drop-table allows nothing"


def test_an_allow_of_a_rule_that_is_not_there_is_found(tmp_path: Path) -> None:
    [unused, _] = linted(tmp_path, {ONE: f"{allow('ban-drop-tabel')}{DROP}"}).findings
    assert unused.message == "allow ban-drop-tabel allows nothing: there is no such rule"


def test_what_migrate_refuses_cannot_be_allowed(tmp_path: Path) -> None:
    assert found(tmp_path, f"{allow('transaction-control')}commit;\n") == [
        ("transaction-control", 2)
    ]


# --- squawk -----------------------------------------------------------------------------------


def without_squawk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squawk, "_binary", lambda: None)


def test_without_squawk_a_note_says_so_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_squawk(monkeypatch)
    outcome = linted(tmp_path, {ONE: DROP, TWO: "commit;\n"})
    assert [finding.rule for finding in outcome.findings] == ["transaction-control"]
    [note] = outcome.notes
    assert "squawk is not installed (pip install 'headwater[lint]')" in note


def test_without_squawk_no_allow_of_its_rules_is_called_unused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_squawk(monkeypatch)
    text = f"{allow('ban-drop-table')}{DROP}{allow('no-such-rule')}select 1;\n"
    assert found(tmp_path, text) == [("unused-allow", 3)]


@pytest.mark.parametrize(
    "script",
    ["import sys; sys.exit('boom')", "print('{}')", "print('[]', end=''); print('x')", ""],
    ids=["fails", "no-list", "no-json", "silent"],
)
def test_a_squawk_that_answers_nonsense_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program = tmp_path / "squawk"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(squawk, "_binary", lambda: program)
    outcome = linted(tmp_path / "migrations", {ONE: DROP})
    assert outcome.findings == ()
    assert outcome.notes[0].startswith("squawk could not be run: ")


def test_a_configuration_of_squawk_in_the_project_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["ban-drop-table"]\n')
    monkeypatch.chdir(tmp_path)
    assert found(tmp_path, DROP) == [("ban-drop-table", 1)]


# --- exit codes -------------------------------------------------------------------------------


def finding_of(severity: Severity) -> Finding:
    return Finding(rule="r", message="m", severity=severity)


@pytest.mark.parametrize("worst", Severity)
@pytest.mark.parametrize("threshold", Severity)
def test_lint_fails_from_the_threshold_on(worst: Severity, threshold: Severity) -> None:
    outcome = Linted(findings=(finding_of(Severity.INFO), finding_of(worst)), files=1)
    assert outcome.exit_code(threshold) == int(worst.rank >= threshold.rank)


def test_nothing_found_never_fails() -> None:
    assert Linted(findings=(), files=0).exit_code(Severity.INFO) == 0


def test_a_threshold_is_one_of_three_words() -> None:
    assert [severity(word) for word in ("info", "warning", "error")] == list(Severity)
    with pytest.raises(SettingsError, match="'fatal' is no severity"):
        severity("fatal")
