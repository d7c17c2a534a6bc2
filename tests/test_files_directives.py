"""Directives in comments: read from the header, judged everywhere."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.files.directives import (
    allowed_rules,
    faults,
    line_of_first_statement,
    may_hold_directives,
    read_header,
)
from headwater.files.grammar import parse
from headwater.files.refusals import check
from headwater.files.text import checksum
from headwater.model import Directive, Finding, Migration

# A busy machine is no fault of the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NO_TRANSACTION = Directive(name="no-transaction", value="", line=1)


def judged(text: str) -> list[Finding]:
    """Judge all comments of a text, as the parser finds them."""
    first = line_of_first_statement(text)
    return [
        Finding(rule=rule, message=message, line=comment.line, hint=hint, source=comment.text)
        for comment in parse(text).comments
        for rule, message, hint in faults(comment.text, in_header=comment.line < first)
    ]


def only_fault(text: str) -> Finding:
    """Judge a text with exactly one fault, and give it."""
    [finding] = judged(text)
    assert finding.hint
    assert may_hold_directives(text), "then nobody would have looked for its comments"
    return finding


# --- reading the header -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("-- headwater: no-transaction\n", NO_TRANSACTION, id="alone"),
        pytest.param("--headwater:no-transaction", NO_TRANSACTION, id="without-blanks"),
        pytest.param("  -- headwater:  no-transaction  \n", NO_TRANSACTION, id="many-blanks"),
        pytest.param("--\theadwater:\tno-transaction\t", NO_TRANSACTION, id="tabs"),
        pytest.param(
            "-- headwater: lock-timeout 1.5 s\nselect 1;",
            Directive(name="lock-timeout", value="1.5 s", line=1),
            id="with-a-value",
        ),
        pytest.param(
            "-- headwater: lock-timeout\t2s",
            Directive(name="lock-timeout", value="2s", line=1),
            id="tab-before-the-value",
        ),
        pytest.param(
            "-- What.\n--\n\n  \n-- headwater: no-transaction\nselect 1;",
            Directive(name="no-transaction", value="", line=5),
            id="below-other-comments",
        ),
        pytest.param(
            "/* Licence\n * of /* all */\n */\n-- headwater: no-transaction\nselect 1;",
            Directive(name="no-transaction", value="", line=4),
            id="below-a-block-comment",
        ),
        pytest.param(
            "-- a\u2028b\x0bc\n-- headwater: no-transaction\nselect 1;",
            Directive(name="no-transaction", value="", line=2),
            id="below-odd-line-ends",
        ),
        pytest.param(
            "-- é\f\n\v-- headwater: no-transaction\nselect 1;",
            Directive(name="no-transaction", value="", line=2),
            id="below-form-feeds",
        ),
    ],
)
def test_a_directive_of_the_header_is_read(text: str, expected: Directive) -> None:
    assert read_header(text) == (expected,)


def test_all_directives_of_the_header_are_read_in_order() -> None:
    text = """\
-- headwater: no-transaction
-- headwater: lock-timeout 5s
-- headwater: allow some-rule because reasons
select 1;
"""
    assert read_header(text) == (
        NO_TRANSACTION,
        Directive(name="lock-timeout", value="5s", line=2),
        Directive(name="allow", value="some-rule because reasons", line=3),
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("select 1;\n-- headwater: no-transaction\n", id="below-a-statement"),
        pytest.param("select 1; -- headwater: no-transaction\n", id="behind-a-statement"),
        pytest.param(";\n-- headwater: no-transaction\nselect 1;", id="below-a-semicolon"),
        pytest.param("/* headwater: no-transaction */ select 1;", id="in-a-block"),
        pytest.param("/*\n-- headwater: no-transaction\n*/ select 1;", id="line-in-a-block"),
        pytest.param("/* /* */\n-- headwater: no-transaction\n*/ select 1;", id="nested-block"),
        pytest.param("/* open\n-- headwater: no-transaction\n", id="in-an-open-block"),
        pytest.param("-- see -- headwater: no-transaction\n", id="inside-a-comment"),
        pytest.param("-- Headwater: no-transaction\n", id="upper-case"),
        pytest.param("-- headwater no-transaction\n", id="without-colon"),
        pytest.param("\u00a0-- headwater: no-transaction\n", id="behind-what-is-no-blank"),
        pytest.param("-- a\rselect 1;\n-- headwater: no-transaction", id="return-ends-a-comment"),
    ],
)
def test_what_is_no_directive_of_the_header_is_not_read(text: str) -> None:
    assert read_header(text) == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("select 1;", 1, id="at-once"),
        pytest.param("\n\n  select 1;", 3, id="below-blank-lines"),
        pytest.param("-- a\n/* b\n*/ select 1;", 3, id="behind-a-comment"),
        pytest.param("-- a\n;", 2, id="a-semicolon"),
        pytest.param("-- a", 2, id="nothing-but-a-comment"),
        pytest.param("-- a\n", 3, id="nothing-but-a-line"),
    ],
)
def test_the_header_ends_at_the_first_thing_that_is_no_comment(text: str, line: int) -> None:
    assert line_of_first_statement(text) == line


BLANKS = st.sampled_from([" ", "\n", "\t", "-- c\n", "-- headwater: x\n", "/* c */", "/*/**/\n*/"])


@patient
@given(st.lists(BLANKS).map("".join))
def test_the_header_ends_where_the_parser_sees_the_first_statement(header: str) -> None:
    text = f"{header}\nselect 1;"
    assert line_of_first_statement(text) == parse(text).statements[0].line


@patient
@given(st.lists(BLANKS).map("".join), st.lists(BLANKS).map("".join))
def test_a_directive_is_either_read_or_told_to_be_misplaced(before: str, behind: str) -> None:
    text = f"{before}\n;{behind}\n-- headwater: no-transaction\nselect 1;"
    assert all(directive.name == "x" for directive in read_header(text))
    assert [f.message for f in judged(text) if "belongs into the header" in f.message]


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "-- headwater: no-transaction\nselect 1;",
        "-- headwater: lock-timeout 500ms\nselect 1;",
        "-- headwater: lock-timeout 1.5 s\nselect 1;",
        "-- headwater: lock-timeout 2min\nselect 1;",
        "-- headwater: allow a-rule because it is small\nselect 1;",
        "select 1;\n-- headwater: allow a-rule, b2 because it is small\nselect 2;",
        "-- Headwater builds this schema\nselect 1;",
        "-- headwater is where a river begins; no-transaction is explained elsewhere\nselect 1;",
        "-- see headwater: the docs\nselect 1;",
        "/* the headwater of it all */ select 1;",
        "select '-- headwater: nonsense';",
        "select $$\n-- headwater: nonsense\n$$;",
        "-- there is no transaction here\nselect 1;",
        "-- rollback is not needed\nselect 1;",
        "-- migrate:up\nselect 1;",
    ],
)
def test_a_good_directive_and_plain_prose_have_no_fault(text: str) -> None:
    assert judged(text) == []


@pytest.mark.parametrize(
    ("directive", "fault"),
    [
        pytest.param("no-transactions", "there is no directive 'no-transactions'", id="unknown"),
        pytest.param("", "there is no directive ''; known: no-transaction, lock-", id="no-name"),
        pytest.param("No-Transaction", "no directive 'No-Transaction'", id="upper-case-name"),
        pytest.param("no-transaction please", "takes no value", id="value-too-many"),
        pytest.param("no-transaction=true", "no directive 'no-transaction=true'", id="equal"),
        pytest.param("lock-timeout", "lock-timeout is written", id="no-value"),
        pytest.param("lock-timeout 2", "lock-timeout is written", id="no-unit"),
        pytest.param("lock-timeout 2 hours", "lock-timeout is written", id="unknown-unit"),
        pytest.param("lock-timeout 0s", "0 would wait without end", id="no-limit"),
        pytest.param("lock-timeout 0.1ms", "0 would wait without end", id="rounds-to-no-limit"),
        pytest.param("lock-timeout 90000min", "longer than PostgreSQL can wait", id="too-long"),
        pytest.param("allow", "allow is written", id="allow-nothing"),
        pytest.param("allow a-rule", "allow is written", id="allow-without-reason"),
        pytest.param("allow a-rule because", "allow is written", id="allow-with-empty-reason"),
        pytest.param("allow because it is", "allow is written", id="allow-without-rule"),
        pytest.param("allow a b because c", "allow is written", id="allow-without-comma"),
        pytest.param("allow A because c", "allow is written", id="allow-upper-case"),
    ],
)
def test_a_bad_directive_is_told_what_is_wrong(directive: str, fault: str) -> None:
    finding = only_fault(f"-- a\n-- headwater: {directive}\nselect 1;")
    assert finding.rule == "directive"
    assert fault in finding.message
    assert finding.line == 2
    assert finding.source.rstrip() == f"-- headwater: {directive}".rstrip()


@pytest.mark.parametrize(
    "comment",
    [
        pytest.param("-- headwater no-transaction", id="no-colon"),
        pytest.param("-- headwater; no-transaction", id="semicolon"),
        pytest.param("-- headwater = no-transaction", id="equal-sign"),
        pytest.param("-- headwater : no-transaction", id="blank-before-the-colon"),
        pytest.param("-- Headwater: no-transaction", id="capital"),
        pytest.param("-- HEADWATER: NO-TRANSACTION", id="capitals"),
        pytest.param("-- HeadWater lock_timeout 2s", id="camel-case"),
        pytest.param("-- head-water: no-transaction", id="hyphen"),
        pytest.param("--- headwater: no-transaction", id="three-hyphens"),
        pytest.param("-- @headwater: no-transaction", id="at-sign"),
        pytest.param("--: headwater: allow x because y", id="colon-first"),
        pytest.param("/* headwater: no-transaction */", id="block-comment"),
        pytest.param("/** headwater no-transaction */", id="block-without-colon"),
    ],
)
def test_what_was_meant_to_be_a_directive_is_told_how_it_is_written(comment: str) -> None:
    finding = only_fault(f"{comment}\nselect 1;")
    assert finding.rule == "directive"
    assert finding.message == "a directive is a comment of its own, written: -- headwater: NAME"


@pytest.mark.parametrize("directive", ["no-transaction", "lock-timeout 2s"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("select 1;\n-- headwater: {}\n", id="at-the-end"),
        pytest.param("select 1\n-- headwater: {}\n;", id="inside-a-statement"),
        pytest.param("select 1; -- headwater: {}\nselect 2;", id="behind-a-statement"),
        pytest.param(";\n-- headwater: {}\nselect 2;", id="below-an-empty-statement"),
    ],
)
def test_a_directive_of_the_header_elsewhere_is_misplaced(text: str, directive: str) -> None:
    finding = only_fault(text.format(directive))
    assert finding.rule == "directive"
    assert "belongs into the header, before the first statement" in finding.message


@pytest.mark.parametrize(
    ("comment", "rules"),
    [
        ("-- headwater: allow a-rule because it is small", ("a-rule",)),
        ("--headwater:\tallow  a ,b2,\tc because because ", ("a", "b2", "c")),
        ("-- headwater: allow a", ()),
        ("-- headwater: allow a b because c", ()),
        ("-- headwater: lock-timeout a because b", ()),
        ("-- allow a because b", ()),
        ("/* headwater: allow a because b */", ()),
    ],
)
def test_the_rules_of_an_allow_are_those_of_its_list(comment: str, rules: tuple[str, ...]) -> None:
    assert allowed_rules(comment) == rules


# --- other tools ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "comment",
    [
        pytest.param("-- +goose NO TRANSACTION", id="goose"),
        pytest.param("-- migrate:up transaction:false", id="dbmate"),
        pytest.param("-- no-transaction", id="sqlx"),
        pytest.param("--no_transaction", id="underscore"),
        pytest.param("-- NO TRANSACTION", id="blank"),
        pytest.param("--! no-transaction", id="graphile-migrate"),
        pytest.param("-- be:no-transaction", id="with-a-prefix"),
        pytest.param("-- atlas:txmode none", id="atlas"),
        pytest.param("-- +migrate Up notransaction", id="sql-migrate"),
        pytest.param("---- tern: disable-tx ----", id="tern"),
        pytest.param("-- x-no-tx-wrap", id="golang-migrate"),
        pytest.param("-- x-no-tx-wrap=true", id="golang-migrate-with-value"),
        pytest.param("-- flyway:executeInTransaction=false", id="flyway"),
        pytest.param("--flyway: executeInTransaction:false", id="flyway-colon"),
        pytest.param("-- executeInTransaction=false", id="flyway-configuration"),
        pytest.param("-- runInTransaction:false", id="liquibase"),
        pytest.param("--changeset me:1 runInTransaction:false", id="liquibase-changeset"),
        pytest.param("-- disable_ddl_transaction!", id="rails"),
        pytest.param("-- transactional: false", id="yoyo"),
        pytest.param("-- transaction: false", id="transaction-false"),
        pytest.param("-- use_transaction = off", id="use-transaction-off"),
    ],
)
def test_the_spelling_of_another_tool_for_no_transaction_is_named(comment: str) -> None:
    finding = only_fault(f"{comment}\ncreate index concurrently i on t (a);")
    assert finding.rule == "foreign-directive"
    assert "another tool's spelling of no-transaction" in finding.message
    assert finding.hint == "write: -- headwater: no-transaction"
    assert finding.source == comment


@pytest.mark.parametrize(
    "comment",
    [
        pytest.param("-- migrate:down", id="dbmate"),
        pytest.param("-- migrate:down transaction:false", id="dbmate-no-transaction"),
        pytest.param("-- +goose Down", id="goose"),
        pytest.param("-- +migrate Down", id="sql-migrate"),
        pytest.param("-- +micrate Down", id="micrate"),
        pytest.param("-- rambler down", id="rambler"),
        pytest.param("-- Down Migration", id="node-pg-migrate"),
        pytest.param("---- create above / drop below ----", id="tern"),
        pytest.param("-- //@UNDO", id="mybatis"),
        pytest.param("--//@UNDO", id="mybatis-without-blank"),
        pytest.param("-- !Downs", id="play"),
        pytest.param("-- @DOWN", id="at-down"),
        pytest.param("-- down", id="down"),
        pytest.param("-- rollback", id="rollback"),
    ],
)
def test_the_border_of_another_tool_between_do_and_undo_is_named(comment: str) -> None:
    finding = only_fault(f"create table t ();\n{comment}\ndrop table t;")
    assert finding.rule == "foreign-directive"
    assert finding.line == 2
    if "transaction" not in comment:
        assert "the file would undo itself" in finding.message
        assert "VERSION.down.sql" in finding.hint


@pytest.mark.parametrize("comment", ["-- no-transaction", "-- +goose Down"])
def test_the_spelling_of_another_tool_in_a_string_is_left_alone(comment: str) -> None:
    assert judged(f"select $$\n{comment}\n$$, '\n{comment}\n';") == []


# --- a whole migration ------------------------------------------------------------------------


def refusals(text: str) -> list[tuple[int, int, str]]:
    """Check a migration with faults, and give their lines, columns and messages."""
    migration = Migration(
        version="0001_a",
        text=text,
        checksum=checksum(text),
        directives=read_header(text),
    )
    findings = check(migration)
    assert isinstance(findings, tuple)
    assert all(finding.rule == "directive" for finding in findings)
    return [(finding.line, finding.column, finding.message) for finding in findings]


def test_a_directive_given_twice_is_refused() -> None:
    text = """\
-- headwater: lock-timeout 2s
-- headwater: no-transaction
-- headwater: lock-timeout 9s
-- headwater: no-transaction
-- headwater: allow a because b
-- headwater: allow b because c
select 1;
"""
    assert refusals(text) == [
        (3, 1, "lock-timeout stands in the header twice"),
        (4, 1, "no-transaction stands in the header twice"),
    ]


ALLOW = "-- headwater: allow a because b"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        pytest.param(f"select 1;\n{ALLOW}\n", 2, 1, id="below-the-last-statement"),
        pytest.param(f"select 1; {ALLOW}\nselect 2;", 1, 11, id="behind-a-statement"),
        pytest.param(f"select 'é',\n  {ALLOW}\n 2; select 3;", 2, 3, id="inside-a-statement"),
        pytest.param(f"select 1;\nselect 2\n{ALLOW}", 3, 1, id="behind-an-open-statement"),
        pytest.param(f"/* é */ {ALLOW}\nselect 2;", 1, 9, id="behind-another-comment"),
    ],
)
def test_an_allow_that_covers_no_statement_is_misplaced(text: str, line: int, column: int) -> None:
    message = "allow stands above the statement that it covers, on a line of its own"
    assert refusals(text) == [(line, column, message)]


def test_a_misplaced_allow_that_is_badly_written_is_told_how_it_is_written() -> None:
    [(line, column, message)] = refusals("select 1;\n-- headwater: allow a")
    assert (line, column) == (2, 1)
    assert message == "allow is written: -- headwater: allow RULE because REASON"


def test_a_fault_of_a_directive_has_its_column_and_its_line() -> None:
    text = "select 'é';  -- headwater: no-transaction"
    [(line, column, message)] = refusals(text)
    assert (line, column) == (1, 14)
    assert message.startswith("no-transaction belongs into the header")
