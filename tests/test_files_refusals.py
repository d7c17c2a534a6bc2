"""What a migration must not hold, and what only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.files.accepted import Accepted
from headwater.files.directives import read_header
from headwater.files.grammar import COPY_FAULT, COPY_HINT, INVISIBLE_HINT, parse
from headwater.files.read import read_folder
from headwater.files.refusals import check, check_all, needs_no_transaction
from headwater.files.text import checksum
from headwater.model import Finding, Migration, Severity

FILES = Path(__file__).parent / "files"
NO_TRANSACTION = "-- headwater: no-transaction\n"


def migration_of(text: str, verify: str | None = None) -> Migration:
    """Give a migration of this text."""
    return Migration(
        version="0001_a",
        text=text,
        checksum=checksum(text),
        directives=read_header(text),
        verify=verify,
    )


def accepted(text: str, verify: str | None = None) -> Accepted:
    """Check a migration that must be accepted."""
    result = check(migration_of(text, verify))
    assert isinstance(result, Accepted), result
    return result


def refused(text: str, verify: str | None = None) -> tuple[Finding, ...]:
    """Check a migration that must be refused; every finding has its place and its line."""
    result = check(migration_of(text, verify))
    assert isinstance(result, tuple)
    for finding in result:
        assert finding.severity is Severity.ERROR
        assert finding.line >= 1
        assert finding.column >= 1
        if finding.file == "0001_a.sql" and finding.rule != "empty":
            assert finding.source == text.split("\n")[finding.line - 1]
    return result


def only_refusal(text: str) -> Finding:
    """Check a migration with exactly one fault."""
    [finding] = refused(text)
    assert finding.file == "0001_a.sql"
    return finding


def found_in(fault: str) -> list[tuple[str, str, int, int, str]]:
    """Check every migration of a folder, and give rule, file, line, column and source."""
    folder = read_folder(FILES / fault)
    assert folder.findings == ()
    found: list[Finding] = []
    for migration in folder.migrations:
        result = check(migration)
        assert isinstance(result, tuple)
        found += result
    return [(f.rule, f.file, f.line, f.column, f.source) for f in found]


# --- what is accepted -------------------------------------------------------------------------


def test_an_accepted_migration_comes_with_its_script_and_its_sentences() -> None:
    text = "create table a ();\n"
    result = accepted(text, 'select true as "it holds";')
    assert result.migration == migration_of(text, 'select true as "it holds";')
    assert result.script == parse(text)
    assert [sentence.sentence for sentence in result.sentences] == ["it holds"]


def test_a_migration_without_a_post_condition_has_no_sentences() -> None:
    assert accepted("create table a ();").sentences == ()


@pytest.mark.parametrize("fault", ["no-transaction", "hidden-semicolons"])
def test_a_difficult_but_good_file_is_accepted(fault: str) -> None:
    [migration] = read_folder(FILES / fault).migrations
    assert isinstance(check(migration), Accepted)


# --- transaction control ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "called"),
    [
        ("begin", "BEGIN"),
        ("BEGIN WORK", "BEGIN"),
        ("begin transaction", "BEGIN TRANSACTION"),
        ("begin isolation level serializable, read only", "BEGIN"),
        ("start transaction", "START TRANSACTION"),
        ("start /* x */ transaction read only", "START"),
        ("commit", "COMMIT"),
        ("Commit Work", "COMMIT"),
        ("commit transaction", "COMMIT TRANSACTION"),
        ("commit and chain", "COMMIT"),
        ("commit and no chain", "COMMIT"),
        ("end", "END"),
        ("end transaction", "END TRANSACTION"),
        ("rollback", "ROLLBACK"),
        ("rollback work and chain", "ROLLBACK"),
        ("rollback to s", "ROLLBACK TO"),
        ("rollback to savepoint s", "ROLLBACK TO"),
        ("abort", "ABORT"),
        ("abort transaction", "ABORT TRANSACTION"),
        ("savepoint s", "SAVEPOINT"),
        ("release s", "RELEASE"),
        ("release savepoint s", "RELEASE"),
        ("prepare transaction 'x'", "PREPARE TRANSACTION"),
        ("commit prepared 'x'", "COMMIT PREPARED"),
        ("rollback prepared 'x'", "ROLLBACK PREPARED"),
        ("set transaction isolation level serializable", "SET TRANSACTION"),
        ("set transaction read only", "SET TRANSACTION"),
        ("set local transaction read only", "SET TRANSACTION"),
        ("set transaction_read_only = on", "SET TRANSACTION"),
        ("SET LOCAL Transaction_Isolation TO 'serializable'", "SET TRANSACTION"),
        ("set transaction_deferrable = on", "SET TRANSACTION"),
        ("set transaction snapshot '1'", "SET TRANSACTION"),
    ],
)
@pytest.mark.parametrize("header", ["", NO_TRANSACTION], ids=["transaction", "no-transaction"])
def test_transaction_control_is_refused(header: str, statement: str, called: str) -> None:
    text = f"{header}create table é ();\n  {statement};\nselect 1;"
    finding = only_refusal(text)
    assert finding.rule == "transaction-control"
    assert finding.message.startswith(f"{called} would end, split or change the transaction")
    assert (finding.line, finding.column) == (2 + header.count("\n"), 3)


@pytest.mark.parametrize(
    "statement",
    [
        "set client_encoding = 'LATIN1'",
        "SET Client_Encoding TO latin9",
        "set names 'LATIN1'",
        "set local client_encoding = 'SQL_ASCII'",
        "set standard_conforming_strings = off",
        "set standard_conforming_strings to 'false'",
        "set standard_conforming_strings = 0",
    ],
)
def test_a_file_that_is_sent_in_parts_does_not_change_how_they_are_read(statement: str) -> None:
    finding = only_refusal(f"{NO_TRANSACTION}vacuum;\n{statement};\nselect 'é';")
    assert (finding.rule, finding.line, finding.column) == ("reading-changed", 3, 1)
    accepted(f"{statement};\nselect 'é';")


@pytest.mark.parametrize(
    "statement",
    [
        "set client_encoding = 'UTF8'",
        "set client_encoding to utf8",
        "set names 'UTF-8'",
        "set client_encoding to default",
        "reset client_encoding",
        "set standard_conforming_strings = on",
        "set standard_conforming_strings = 1",
        "set search_path = app",
    ],
)
def test_a_setting_that_changes_no_reading_is_accepted(statement: str) -> None:
    accepted(f"{NO_TRANSACTION}{statement};\nselect 'é';")


def test_every_piece_of_transaction_control_is_named() -> None:
    assert found_in("transaction-control") == [
        ("transaction-control", "0001_commit_in_the_middle.sql", 3, 1, "commit;"),
        ("transaction-control", "0002_rollback_at_the_end.sql", 2, 1, "begin;"),
        ("transaction-control", "0002_rollback_at_the_end.sql", 4, 1, "rollback;"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("do $$ begin commit; end $$;", id="do-block"),
        pytest.param(
            "create procedure p() language plpgsql as $x$ begin rollback; commit; end $x$;",
            id="procedure",
        ),
        pytest.param(
            "create function f() returns int language sql begin atomic select 1; end;",
            id="begin-atomic",
        ),
        pytest.param("select 'commit;', E'\\'; rollback;', $$ begin; $$;", id="strings"),
        pytest.param("-- commit;\n/* rollback; */ select 1;", id="comments"),
        pytest.param('select 1 as "commit;", 2 as commit, 3 as "begin";', id="names"),
        pytest.param("create table savepoint (release int);", id="a-table-of-that-name"),
        pytest.param("set constraints all deferred;", id="set-constraints"),
        pytest.param("set local statement_timeout = 0;", id="set-local"),
        pytest.param("set session characteristics as transaction read only;", id="of-the-session"),
        pytest.param("prepare p as select 1;", id="prepare-a-statement"),
        pytest.param("call p();", id="call"),
        pytest.param("lock table a in exclusive mode;", id="lock"),
    ],
)
def test_what_only_looks_like_transaction_control_is_accepted(text: str) -> None:
    accepted(text)


# --- COPY -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("copy a from stdin", id="alone"),
        pytest.param("COPY a FROM STDIN;", id="upper-case"),
        pytest.param("copy a (b, c) from stdin with (format csv, header);", id="options"),
        pytest.param("copy s.a from stdin csv;", id="old-options"),
        pytest.param("copy a from stdin where b > 0;", id="where"),
    ],
)
@pytest.mark.parametrize(
    ("around", "line", "column"),
    [
        pytest.param("{}", 1, 1, id="first"),
        pytest.param("select 'é';\n/* ; */ {}", 2, 9, id="last"),
    ],
)
def test_copy_from_stdin_without_data_is_refused(
    text: str, around: str, line: int, column: int
) -> None:
    finding = only_refusal(around.format(text))
    assert (finding.rule, finding.message) == ("copy-stdin", COPY_FAULT)
    assert (finding.line, finding.column, finding.hint) == (line, column, COPY_HINT)


def test_copy_from_stdin_with_data_is_refused_where_it_begins() -> None:
    assert found_in("copy-from-stdin") == [
        (
            "copy-stdin",
            "0001_dump_with_data.sql",
            4,
            1,
            "COPY public.notes (id, note) FROM stdin;",
        )
    ]


@pytest.mark.parametrize("text", ["copy a to stdout;", "copy (select 1) to stdout (format csv);"])
def test_copy_to_stdout_is_refused(text: str) -> None:
    assert only_refusal(text).rule == "copy-stdout"


@pytest.mark.parametrize(
    "text",
    [
        "copy a from '/file';",
        "copy a from program 'cat';",
        "copy a to '/file';",
        "create table stdin (copy int); select copy from stdin;",
        "select 'copy a from stdin;';",
        "-- copy a from stdin;\nselect 1;",
        "do $$ begin execute 'copy a from stdin'; end $$;",
    ],
)
def test_copy_by_the_server_and_what_only_looks_like_copy_is_accepted(text: str) -> None:
    accepted(text)


# --- text that is no SQL ----------------------------------------------------------------------


def test_a_psql_command_is_refused_with_its_line() -> None:
    [(rule, file, line, column, source)] = found_in("psql-command")
    assert (rule, file, line, column) == ("syntax", "0001_dump.sql", 5, 1)
    assert source.startswith("\\restrict ")


def test_a_syntax_error_is_refused_with_line_column_and_text() -> None:
    finding = only_refusal("-- é\ncreate table a ();\nselect 'é' frm x y;\n")
    assert finding == Finding(
        rule="syntax",
        message='syntax error at or near "x"',
        file="0001_a.sql",
        line=3,
        column=16,
        source="select 'é' frm x y;",
    )


@pytest.mark.parametrize(
    "text", ["", " \n\t\n", "-- only a comment\n", "/* only\n * a comment */", ";", "-- a\n;;\n"]
)
@pytest.mark.parametrize("header", ["", NO_TRANSACTION], ids=["transaction", "no-transaction"])
def test_a_file_without_a_statement_is_refused(header: str, text: str) -> None:
    finding = only_refusal(header + text)
    assert (finding.rule, finding.line, finding.column) == ("empty", 1, 1)
    assert finding.message == "the file holds no statement"


def test_an_invisible_character_in_a_name_is_refused_with_its_place() -> None:
    assert found_in("no-break-space") == [
        ("syntax", "0001_pasted.sql", 3, 7, "    id\u00a0integer"),
    ]


def test_every_invisible_character_that_the_grammar_accepts_is_refused() -> None:
    first, second = refused("create table é\u200b (i int);\nselect 'a\u00a0b', a\u00a0;")
    assert (first.line, first.column) == (1, 15)
    assert (second.line, second.column) == (2, 16)
    assert first.message == "an invisible character, U+200B ZERO WIDTH SPACE"
    assert second.message == "an invisible character, U+00A0 NO-BREAK SPACE"
    assert first.hint == second.hint == INVISIBLE_HINT


# --- statements that cannot run in a transaction ----------------------------------------------

OUTSIDE = [
    ("create index concurrently i on t (a)", "CREATE INDEX CONCURRENTLY"),
    ("create unique index concurrently on t (a)", "CREATE INDEX CONCURRENTLY"),
    ("drop index concurrently i", "DROP INDEX CONCURRENTLY"),
    ("drop index concurrently if exists s.i", "DROP INDEX CONCURRENTLY"),
    ("reindex index concurrently i", "REINDEX CONCURRENTLY"),
    ("reindex table concurrently t", "REINDEX CONCURRENTLY"),
    ("reindex (concurrently) table t", "REINDEX CONCURRENTLY"),
    ("reindex (verbose, concurrently true) table t", "REINDEX CONCURRENTLY"),
    ("reindex schema concurrently s", "REINDEX CONCURRENTLY"),
    ("reindex schema s", "REINDEX SCHEMA"),
    ("reindex database d", "REINDEX DATABASE"),
    ("reindex system d", "REINDEX SYSTEM"),
    ("vacuum", "VACUUM"),
    ("vacuum full t", "VACUUM"),
    ("vacuum (analyze) t", "VACUUM"),
    ("vacuum analyze t", "VACUUM"),
    ("cluster", "CLUSTER without a table"),
    ("cluster verbose", "CLUSTER without a table"),
    ("cluster (verbose)", "CLUSTER without a table"),
    ("create database d", "CREATE DATABASE"),
    ("drop database d", "DROP DATABASE"),
    ("drop database if exists d with (force)", "DROP DATABASE"),
    ("alter database d set tablespace t", "ALTER DATABASE … SET TABLESPACE"),
    ("alter database d with tablespace = t", "ALTER DATABASE … SET TABLESPACE"),
    ("create tablespace t location '/t'", "CREATE TABLESPACE"),
    ("drop tablespace t", "DROP TABLESPACE"),
    ("alter system set work_mem = '1GB'", "ALTER SYSTEM"),
    ("alter system reset all", "ALTER SYSTEM"),
    ("discard all", "DISCARD ALL"),
    ("alter table t detach partition p concurrently", "DETACH PARTITION CONCURRENTLY"),
    (
        "create subscription s connection 'x' publication p",
        "CREATE SUBSCRIPTION that makes a slot",
    ),
    (
        "create subscription s connection 'x' publication p with (connect, create_slot = on)",
        "CREATE SUBSCRIPTION that makes a slot",
    ),
    ("alter subscription s refresh publication", "ALTER SUBSCRIPTION … REFRESH"),
    (
        "alter subscription s refresh publication with (copy_data = false)",
        "ALTER SUBSCRIPTION … REFRESH",
    ),
    ("alter subscription s set publication p", "ALTER SUBSCRIPTION … SET PUBLICATION"),
    (
        "alter subscription s add publication p with (refresh = true)",
        "ALTER SUBSCRIPTION … ADD PUBLICATION",
    ),
    ("alter subscription s drop publication p", "ALTER SUBSCRIPTION … DROP PUBLICATION"),
]

INSIDE = [
    "create index i on t (a)",
    'create table "concurrently" (concurrent int)',
    "drop index i",
    "drop table t",
    "reindex index i",
    "reindex table t",
    "reindex (verbose) table t",
    "reindex (concurrently false) table t",
    "reindex (concurrently off) index i",
    "reindex (concurrently 0) index i",
    "analyze t",
    "analyze",
    "cluster t",
    "cluster t using i",
    "alter database d set search_path = s",
    "alter database d rename to e",
    "alter database d connection limit 5",
    "alter tablespace t rename to u",
    "alter table t set tablespace u",
    "discard temp",
    "discard plans",
    "discard sequences",
    "alter table t detach partition p",
    "alter table t detach partition p finalize",
    "alter table t attach partition p default",
    'alter table t add column "concurrently" int',
    "alter type e add value 'x'",
    "refresh materialized view concurrently v",
    "create subscription s connection 'x' publication p with (create_slot = false)",
    "create subscription s connection 'x' publication p with (create_slot = off)",
    "create subscription s connection 'x' publication p with (create_slot = 0)",
    "create subscription s connection 'x' publication p with (connect = 'false')",
    "alter subscription s set publication p with (refresh = false)",
    "alter subscription s add publication p with (refresh = off)",
    "alter subscription s enable",
    "alter subscription s set (slot_name = none)",
    "alter subscription s connection 'refresh'",
    "drop subscription s",
    "create publication p for all tables",
    "create role r",
    "create extension pg_trgm",
    "checkpoint",
    "select 'create database d; vacuum;'",
    "do $$ begin execute 'vacuum'; end $$",
]


@pytest.mark.parametrize(("statement", "called"), OUTSIDE)
def test_a_statement_that_cannot_run_in_a_transaction_is_refused(
    statement: str, called: str
) -> None:
    finding = only_refusal(f"select 'é';\n/* é */ {statement};\nselect 2;")
    assert finding.rule == "no-transaction"
    assert finding.message == f"{called} cannot run in a transaction"
    assert finding.hint.endswith("-- headwater: no-transaction")
    assert (finding.line, finding.column) == (2, 9)


@pytest.mark.parametrize("statement", [statement for statement, _ in OUTSIDE])
def test_a_no_transaction_file_may_hold_it(statement: str) -> None:
    accepted(f"{NO_TRANSACTION}{statement};")


@pytest.mark.parametrize("statement", INSIDE)
def test_its_harmless_neighbour_is_accepted(statement: str) -> None:
    accepted(statement)
    assert needs_no_transaction(parse(statement).statements[0]) == ""


@pytest.mark.parametrize(("statement", "called"), OUTSIDE)
def test_what_needs_no_transaction_is_called_by_name(statement: str, called: str) -> None:
    assert needs_no_transaction(parse(statement).statements[0]) == called


def test_concurrently_if_not_exists_is_refused_outside_a_transaction() -> None:
    text = f"{NO_TRANSACTION}create index concurrently if not exists i on t (a);"
    finding = only_refusal(text)
    assert finding.rule == "concurrently-if-not-exists"
    assert "invalid left-over" in finding.message
    assert finding.line == 2


def test_if_not_exists_alone_and_concurrently_alone_are_accepted() -> None:
    accepted("create index if not exists i on t (a);")
    accepted(f"{NO_TRANSACTION}create index concurrently i on t (a);")
    accepted(f"{NO_TRANSACTION}create index if not exists i on t (a);")


# --- all at once ------------------------------------------------------------------------------


def test_everything_wrong_is_told_at_once() -> None:
    text = """\
-- headwater: no-transactions
-- +goose NO TRANSACTION
begin;
copy a from stdin;
vacuum;
-- headwater: lock-timeout 2s
create table a\u00a0 ();
-- headwater: allow a because b
"""
    findings = refused(text, "select 1; insert into t default values;")
    assert [(f.rule, f.file, f.line) for f in findings] == [
        ("directive", "0001_a.sql", 1),
        ("foreign-directive", "0001_a.sql", 2),
        ("directive", "0001_a.sql", 6),
        ("directive", "0001_a.sql", 8),
        ("syntax", "0001_a.sql", 7),
        ("transaction-control", "0001_a.sql", 3),
        ("copy-stdin", "0001_a.sql", 4),
        ("no-transaction", "0001_a.sql", 5),
        ("not-a-sentence", "0001_a.verify.sql", 1),
        ("not-a-sentence", "0001_a.verify.sql", 1),
    ]


def test_of_many_migrations_every_one_is_checked() -> None:
    good, bad = migration_of("select 1;"), migration_of("commit;")
    accepted, findings = check_all([bad, good, bad])
    assert [file.migration for file in accepted] == [good]
    assert [finding.rule for finding in findings] == ["transaction-control"] * 2


@pytest.mark.parametrize("verify", ["", "selec", "delete from t;", "select true;"])
def test_a_bad_post_condition_refuses_its_migration(verify: str) -> None:
    [finding] = refused("create table a ();", verify)
    assert finding.file == "0001_a.verify.sql"
