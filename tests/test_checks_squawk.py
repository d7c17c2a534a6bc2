"""Squawk: its places, its wrong answers, its own ignore comments."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from headwater.checks import squawk
from headwater.checks.linting import text_findings
from headwater.checks.rules import CHOSEN_OF_SQUAWK
from headwater.files.directives import read_header
from headwater.model import Finding, Migration

NO_TRANSACTION = "-- headwater: no-transaction\n"


def findings(*texts: str) -> list[Finding]:
    migrations = [
        Migration(version=f"000{n}_a", text=text, checksum="", directives=read_header(text))
        for n, text in enumerate(texts, 1)
    ]
    read = text_findings(migrations)
    assert read.refused == ()
    return sorted(read.findings, key=lambda f: (f.file, f.line, f.column, f.rule))


def found(text: str) -> list[tuple[str, int, int]]:
    return [(f.rule, f.line, f.column) for f in findings(text)]


def rules(text: str) -> list[str]:
    return [f.rule for f in findings(text)]


def test_every_rule_that_is_taken_is_known_to_the_squawk_that_is_installed() -> None:
    binary = squawk._binary()
    assert binary is not None
    for rule in CHOSEN_OF_SQUAWK:
        done = subprocess.run(
            [binary, "--include", rule.id, "--reporter", "json", "--stdin-filepath", "a.sql"],
            input=b"select 1;",
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout.strip()) == (0, b"[]"), (rule.id, done.stderr)


# --- places -----------------------------------------------------------------------------------


def test_a_finding_has_its_end_and_its_relation_in_characters() -> None:
    text = 'select 1;\nalter table app."日𝄞"\n    drop column "é", drop column b;\n'
    first, second = findings(text)
    assert (first.line, first.column, first.end_line, first.end_column) == (3, 5, 3, 20)
    assert (second.line, second.column) == (3, 22)
    assert first.relation == "app.日𝄞"
    assert first.source == '    drop column "é", drop column b;'


def test_a_block_is_looked_into_at_its_lines() -> None:
    text = "-- é\ndo $$ begin\n  alter table app.t\n    drop column a;\nend $$;\ndrop table app.x;"
    assert found(text) == [("ban-drop-column", 4, 5), ("ban-drop-table", 6, 1)]
    assert rules("do $$ begin create table app.n (a int); drop table app.n; end $$") == []


def test_a_file_that_squawk_cannot_read_is_a_note_and_hides_nothing_of_others() -> None:
    # PostgreSQL takes any character beyond ASCII for a letter; squawk does not.
    odd = "create table app.n (a🙂b bigint);\ndrop table app.t;"
    read = text_findings(
        [
            Migration(version="0001_a", text=odd, checksum=""),
            Migration(version="0002_b", text="drop table app.t;", checksum=""),
        ]
    )
    if read.unread:  # newer ones may learn it
        assert read.notes == ("squawk cannot read 0001_a.sql: its rules were not looked at there",)
        assert "ban-drop-table" not in read.judged("0001_a.sql")
    assert "ban-drop-table" in read.judged("0002_b.sql")
    assert ("ban-drop-table", "0002_b.sql") in [(f.rule, f.file) for f in read.findings]


# --- no answer --------------------------------------------------------------------------------


def require_a_note(words: str) -> None:
    """Lint a file that the own rules find something in, while squawk gives no answer."""
    text = "vacuum full app.t;"
    header = read_header(NO_TRANSACTION)
    migration = Migration(version="0001_a", text=text, checksum="", directives=header)
    read = text_findings([migration])
    assert [note for note in read.notes if words in note] == list(read.notes)
    assert len(read.notes) == 1
    assert "ban-drop-table" not in read.judged("0001_a.sql")
    assert "cluster-or-vacuum-full" in [finding.rule for finding in read.findings]


def test_a_missing_or_full_folder_for_temporary_files_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(squawk, "_in_memory", lambda: str(tmp_path / "gone"))
        require_a_note("squawk could not be run: [Errno 2]")

    def full(*_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(squawk, "_write", full)
    require_a_note("squawk could not be run: [Errno 28]")


@pytest.mark.parametrize(
    "answer",
    [
        "{}",
        "[1]",
        '[{"file": "0.sql", "rule_name": "ban-drop-table"}]',
        '[{"file": "0.sql", "rule_name": "ban-drop-table", "line": "0", "column": 0}]',
    ],
)
def test_an_answer_of_another_form_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    program = tmp_path / "squawk"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(squawk, "_binary", lambda: program)
    require_a_note("squawk could not be run: an unknown form of answer")


# --- wrong answers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "alter table app.t add column g int generated always as (a * 2) virtual",
        "alter table app.t add column r bigint references app.u (id)",
        "alter table app.t add column d date not null default current_date",
        "create index x on only app.p (a)",
        "alter index app.i rename to j",
        "drop view app.v; create view app.v as select 1 as one",
        "drop function app.f(); create function app.f() returns int language sql return 1",
        "drop trigger x on app.t; drop function app.f()",
        "alter domain app.d add constraint c check (value > 0) not valid",
        f"{NO_TRANSACTION}create table app.n (a int); create index i on app.n (a)",
        "create table app.n (a int); alter table app.n alter column a set not null",
        "create table app.n (a int); alter table app.n add column u uuid default uuidv4()",
        "create table app.n (a int); alter table app.n add column u text not null",
        "create table app.n (a int); alter table app.n alter column a type text",
        "create table app.n (a int); drop table app.n",
        "create temp table n (a int); drop table n",
        "set local search_path = app; create table n (a int)",
    ],
)
def test_what_the_tree_refutes_is_not_told(text: str) -> None:
    assert rules(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alter table app.t add constraint c unique (a)", ["disallowed-unique-constraint"]),
        ("alter table app.t add primary key (a)", ["adding-serial-primary-key-field"]),
        (
            "alter table app.t add foreign key (a) references app.u (id)",
            ["adding-foreign-key-constraint"],
        ),
        ("alter table app.t add exclude (a with =)", ["adding-exclusion-constraint"]),
        (
            "alter table app.t add column r bigint default 1 references app.u (id)",
            ["adding-foreign-key-constraint"],
        ),
        (
            "alter table app.t add constraint c check (a > 0) not valid, validate constraint c",
            ["validate-in-same-file"],
        ),
        (
            "create table app.n (a int); alter table app.n add column at timestamp",
            ["prefer-timestamp-tz"],
        ),
        ("drop view app.v; create view app.w as select 1 as one", ["ban-drop-view"]),
        ("alter table app.t add column c int default current_f()", ["adding-field-with-default"]),
        ("drop trigger x on app.t; drop function app.f(int)", ["ban-drop-function"]),
        ("drop policy x on app.t; drop function app.f()", ["ban-drop-function"]),
        (
            f"{NO_TRANSACTION}drop view app.v; create view app.v as select 1 as one",
            ["ban-drop-view"],
        ),
    ],
)
def test_what_holds_is_told_once(text: str, expected: list[str]) -> None:
    assert rules(text) == expected


# --- its own ignore comments ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "-- squawk-ignore ban-drop-table\ndrop table app.t;",
        "drop table app.t; -- squawk-ignore ban-drop-table",
        "/* squawk-ignore ban-drop-table */\ndrop table app.t;",
        "-- squawk-ignore ban-drop-table -- nobody reads it\ndrop table app.t;",
        "select 1;\n-- squawk-ignore-file ban-drop-table\ndrop table app.t;",
        "-- squawk-ignore-file\ndrop table app.t;",
        "alter table app.t\n    -- squawk-ignore ban-drop-column\n    drop column a;",
        "-- squawk-ignore prefer-robust-stmts\ncreate table app.n (a bigint);",
        "select '-- squawk-ignore ban-drop-table';",
    ],
)
def test_its_ignores_are_understood_as_it_does(text: str) -> None:
    assert rules(text) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-- squawk-ignore ban-drop-table\nselect 1;", "squawk-ignore ban-drop-table"),
        ("/* squawk-ignore\n ban-drop-table */\nselect 1;", "squawk-ignore ban-drop-table"),
        ("-- squawk-ignore-file ban-drop-table\nselect 1;", "squawk-ignore ban-drop-table"),
        ("-- squawk-ignore-file\nselect 1;", "squawk-ignore"),
        ("-- squawk-ignore\nselect 1;", "squawk-ignore"),
    ],
)
def test_an_ignore_that_ignores_nothing_is_found(text: str, told: str) -> None:
    [finding] = findings(text)
    assert (finding.rule, finding.message) == ("unused-allow", f"{told} ignores nothing")
    assert (finding.line, finding.column) == (1, 4)


def test_an_ignore_far_from_what_it_means_ignores_nothing() -> None:
    assert found("-- squawk-ignore ban-drop-table\n\ndrop table app.t;") == [
        ("unused-allow", 1, 4),
        ("ban-drop-table", 3, 1),
    ]


def test_an_ignore_of_a_rule_that_is_not_there_is_found() -> None:
    first, second = findings("-- squawk-ignore ban-drop-tabel\ndrop table app.t;")
    assert first.message == "squawk-ignore ban-drop-tabel ignores nothing: there is no such rule"
    assert (first.line, second.rule) == (1, "ban-drop-table")


def test_its_ignores_do_not_reach_rules_of_our_own() -> None:
    assert rules("-- squawk-ignore-file\ntruncate app.t;\ndrop table app.t;") == ["truncate"]
