"""PostgreSQL's grammar: statements, comments and tokens, with their places."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.files.grammar import (
    COPY_FAULT,
    COPY_HINT,
    INVISIBLE_HINT,
    Ends,
    NotParsed,
    Statement,
    option_is_on,
    parse,
    parse_block,
    quoted,
    walk,
    word_of,
)
from headwater.files.text import place

# A busy machine is no fault of the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FILES = Path(__file__).parent / "files"


def statements_of(text: str) -> list[str]:
    """Give the texts of all statements; each must stand where it says."""
    script = parse(text)
    for statement in script.statements:
        assert text[statement.start : statement.end].rstrip() == statement.text
        assert place(text, statement.start) == (statement.line, statement.column)
    return [statement.text for statement in script.statements]


def refusal_of(text: str) -> NotParsed:
    """Parse a text that must be refused."""
    with pytest.raises(NotParsed) as caught:
        parse(text)
    assert 0 <= caught.value.position <= len(text)
    assert str(caught.value) == caught.value.message
    return caught.value


# --- statements -------------------------------------------------------------------------------


def test_what_hides_a_semicolon_does_not_split_a_statement() -> None:
    path = FILES / "hidden-semicolons" / "0001_everything_that_hides_a_semicolon.sql"
    script = parse(path.read_text(encoding="utf-8"))
    assert [(statement.kind, statement.line) for statement in script.statements] == [
        ("create_function_stmt", 4),
        ("create_function_stmt", 12),
        ("create_stmt", 22),
        ("insert_stmt", 30),
        ("do_stmt", 33),
        ("select_stmt", 35),
    ]
    assert script.statements[0].text.endswith("then i + 1 end;\nend")
    assert script.statements[1].text.endswith("$body$")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(" \n;;\t; -- x\n", [], id="nothing-but-semicolons"),
        pytest.param("select 1", ["select 1"], id="no-semicolon"),
        pytest.param("select 1;;select 2", ["select 1", "select 2"], id="empty-between"),
        pytest.param("-- a; b\nselect 1; -- c;\n", ["select 1"], id="comments-around"),
        pytest.param("/* a /* ; */ b; */ select 1;", ["select 1"], id="nested-comment"),
        pytest.param("select 1 -- tail", ["select 1 -- tail"], id="comment-behind-the-last"),
        pytest.param("select 'a\\';", ["select 'a\\'"], id="standard-string"),
        pytest.param("select E'a\\';';", ["select E'a\\';'"], id="escape-string"),
        pytest.param("select $$;$$, $a$;$$;$a$;", ["select $$;$$, $a$;$$;$a$"], id="dollars"),
        pytest.param('select 1 as ";";', ['select 1 as ";"'], id="identifier"),
        pytest.param("select 'é';select 'ü';", ["select 'é'", "select 'ü'"], id="not-ascii"),
        pytest.param("\tselect 1;\r\n", ["select 1"], id="blanks-around"),
    ],
)
def test_a_text_is_split_by_the_grammar(text: str, expected: list[str]) -> None:
    assert statements_of(text) == expected


def test_a_place_counts_characters_and_not_bytes() -> None:
    text = "-- é\u20ac\U0001f600\nselect 'é\U0001f600';  /* é */ select\n1;\n\n  table é_t;\n"
    script = parse(text)
    assert [(s.line, s.column, s.text) for s in script.statements] == [
        (2, 1, "select 'é\U0001f600'"),
        (2, 23, "select\n1"),
        (5, 3, "table é_t"),
    ]


def test_a_script_is_compared_by_content() -> None:
    assert parse("select 1; -- a") == parse("select 1; -- a")
    assert parse("select 1; -- a") != parse("select 1; -- b")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("select " + " || ".join(["'a'"] * 2_000), id="a-sum-of-texts"),
        pytest.param(f"select {'case when a then ' * 500}1{' end' * 500} from t", id="cases"),
        pytest.param(f"select {'(select ' * 500}1{')' * 500}", id="subqueries"),
    ],
)
def test_deep_nesting_is_read(text: str) -> None:
    assert statements_of(f"{text};select 1;") == [text, "select 1"]


def test_a_nesting_too_deep_for_the_parser_is_refused_by_it() -> None:
    assert "memory exhausted" in refusal_of(f"select {'(' * 50_000}1{')' * 50_000}").message


# --- comments ---------------------------------------------------------------------------------


def test_comments_are_found_with_their_places() -> None:
    text = "-- é one\nselect 'é' /* two\n/* é */ */, 1; -- three\n"
    comments = parse(text).comments
    assert [(c.text, c.line, c.column) for c in comments] == [
        ("-- é one", 1, 1),
        ("/* two\n/* é */ */", 2, 12),
        ("-- three", 3, 16),
    ]
    assert all(text[c.start :].startswith(c.text) for c in comments)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("select '-- a', '/* b */';", id="string"),
        pytest.param("select $$ -- a\n/* b */ $$;", id="dollar-quoted"),
        pytest.param('select 1 as "-- a /* b */";', id="identifier"),
        pytest.param("select E'\\'-- a';", id="escape-string"),
        pytest.param("select 1;", id="none"),
    ],
)
def test_what_only_looks_like_a_comment_is_none(text: str) -> None:
    assert parse(text).comments == ()


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        pytest.param("selec 1;", 0, 'syntax error at or near "selec"', id="first-word"),
        pytest.param("select 'é', 'ü' 1;", 16, 'syntax error at or near "1"', id="behind-letters"),
        pytest.param("-- é\u20ac\nselec 1;", 6, 'syntax error at or near "selec"', id="line-2"),
        pytest.param("select é from", 13, "syntax error at end of input", id="end"),
        pytest.param("select 'é' 'a", 11, "unterminated quoted string", id="open-string"),
        pytest.param("select é $$a", 9, "unterminated dollar-quoted string", id="open-dollar"),
        pytest.param('select é "a', 9, "unterminated quoted identifier", id="open-identifier"),
        pytest.param("select 'é'; /* a /* b */", 12, "unterminated /* comment", id="open-comment"),
        pytest.param("select 'é', E'\\uZZ'", 14, "invalid Unicode escape", id="bad-escape"),
        pytest.param("select 'é', 1a", 12, "trailing junk after numeric", id="number-and-word"),
    ],
)
def test_a_refusal_has_its_position_in_characters(text: str, position: int, message: str) -> None:
    error = refusal_of(text)
    assert error.message.startswith(message)
    assert error.position == position


@pytest.mark.parametrize(
    ("text", "near"),
    [
        pytest.param("select 'it\nx\ny", "'it …", id="to-the-end-of-the-line"),
        pytest.param(f"select '{'x' * 1000}", f"'{'x' * 59} …", id="not-all-of-a-long-line"),
        pytest.param("select 'it", "'it", id="short"),
        pytest.param("select 1 2", "2", id="a-word"),
    ],
)
def test_a_refusal_quotes_no_more_than_a_line(text: str, near: str) -> None:
    assert refusal_of(text).message.endswith(f' at or near "{near}"')


@pytest.mark.parametrize(
    ("text", "position", "command"),
    [
        pytest.param("\\restrict abc\nselect 1;", 0, "\\restrict", id="first-line"),
        pytest.param("select 'é';\n\\connect x", 12, "\\connect", id="second-line"),
        pytest.param("  \\i other.sql", 2, "\\i", id="indented"),
        pytest.param("select 1 \\gexec\n", 9, "\\gexec", id="behind-a-query"),
        pytest.param("select 1 \\;\n", 9, "\\;", id="escaped-semicolon"),
        pytest.param("select 1;\n\\.\n", 10, "\\.", id="end-of-data"),
        pytest.param("\\", 0, "\\", id="nothing-but-a-backslash"),
    ],
)
def test_a_psql_command_is_named(text: str, position: int, command: str) -> None:
    error = refusal_of(text)
    assert error.message == f"{command} is a psql command, not SQL"
    assert error.position == position
    assert error.hint == "remove it"


@pytest.mark.parametrize(
    "text",
    [
        "select '\n\\connect' 1 2;",
        "select $$\n\\connect x\n$$ 1 2;",
        "-- x\n/*\n\\connect x\n*/ selec;",
    ],
)
def test_a_backslash_in_a_string_or_comment_is_no_psql_command(text: str) -> None:
    assert refusal_of(text).message.startswith("syntax error at or near")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        pytest.param("copy a from stdin;\n1\t2\n\\.\n", 0, id="first"),
        pytest.param("select 'é';\nCOPY a FROM STDIN;\n\\.\n", 12, id="without-data"),
        pytest.param("select 1; copy a from stdin; 1\n\\.\n", 10, id="not-first-in-its-line"),
        pytest.param('/* é */ copy a (b) from stdin (format csv);\n"a;b"\n', 8, id="options"),
        pytest.param("-- c\ncopy a from /* x */ stdin;\nit's\n\\.\n", 5, id="quote-in-the-data"),
        pytest.param("copy a from stdin;\n'open\n\\.\n", 0, id="open-quote-in-the-data"),
        pytest.param("copy a from stdin;\n\\N\n\\.\n", 0, id="null-in-the-data"),
        pytest.param("copy a from\nstdin delimiter ';';\n1;2\n", 0, id="semicolon-as-delimiter"),
        pytest.param('copy "A;".b (c) from stdin\nselect', 0, id="without-semicolon"),
        pytest.param("select a from stdin;\ncopy a from stdin;\n1\n", 21, id="below-a-table-stdin"),
    ],
)
def test_copy_from_stdin_is_named_where_it_stands(text: str, position: int) -> None:
    error = refusal_of(text)
    assert (error.message, error.hint) == (COPY_FAULT, COPY_HINT)
    assert error.position == position


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("-- copy a from stdin;\nselec 1;", id="comment"),
        pytest.param("/*\ncopy a from stdin;\n*/ selec 1;", id="block-comment"),
        pytest.param("select '\ncopy a from stdin;';\nselec 1;", id="string"),
        pytest.param("do $$\ncopy a from stdin;\n$$;\nselec 1;", id="body"),
        pytest.param("copy a to stdout;\nselec 1;", id="to-stdout"),
        pytest.param("copy a from '/f'; select 1 from stdin 1 2 3;", id="two-statements"),
        pytest.param("copy a from program 'stdin';\nselec 1;", id="program"),
        pytest.param("select copy from stdin x y z;", id="names"),
    ],
)
def test_what_only_looks_like_copy_from_stdin_is_not_blamed(text: str) -> None:
    assert refusal_of(text).message.startswith("syntax error at or near")


INVISIBLE = [
    pytest.param("\u00a0", "U+00A0 NO-BREAK SPACE", id="no-break-space"),
    pytest.param("\u200b", "U+200B ZERO WIDTH SPACE", id="zero-width-space"),
    pytest.param("\u2009", "U+2009 THIN SPACE", id="thin-space"),
    pytest.param("\u3000", "U+3000 IDEOGRAPHIC SPACE", id="ideographic-space"),
    pytest.param("\u2028", "U+2028 LINE SEPARATOR", id="line-separator"),
    pytest.param("\u2029", "U+2029 PARAGRAPH SEPARATOR", id="paragraph-separator"),
    pytest.param("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE", id="right-to-left"),
    pytest.param("\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE", id="byte-order-mark"),
    pytest.param("\u00ad", "U+00AD SOFT HYPHEN", id="soft-hyphen"),
    pytest.param("\u0085", "U+0085 unnamed", id="next-line"),
]


@pytest.mark.parametrize(("character", "name"), INVISIBLE)
@pytest.mark.parametrize(
    ("text", "position"),
    [
        pytest.param("{}select 1;", 0, id="first"),
        pytest.param("select 'é';\n{}select 2 3;", 12, id="second-line"),
        pytest.param("create{}table a (i int);", 6, id="between-keywords"),
        pytest.param("select 1{};", 8, id="behind-a-number"),
        pytest.param("create table é (\n  id{}int\n);", 21, id="makes-one-name-of-two-words"),
        pytest.param("select 1;\n{}", 10, id="at-the-end"),
    ],
)
def test_an_invisible_character_is_named_by_code_point(
    text: str, position: int, character: str, name: str
) -> None:
    error = refusal_of(text.format(character))
    assert error.message == f"an invisible character, {name}"
    assert error.position == position
    assert error.hint == INVISIBLE_HINT


@pytest.mark.parametrize(
    ("text", "position", "name"),
    [
        pytest.param("select 'é';\n\x1a", 12, "U+001A", id="end-of-file-of-dos"),
        pytest.param("\x1b[31mselect 1;", 0, "U+001B", id="escape-code"),
        pytest.param("select \x7f1;", 7, "U+007F", id="delete"),
    ],
)
def test_a_control_character_is_named_by_code_point(text: str, position: int, name: str) -> None:
    error = refusal_of(text)
    assert error.message == f"an invisible character, {name} unnamed"
    assert error.position == position


def test_a_lone_carriage_return_ends_a_line_and_a_comment() -> None:
    script = parse("-- é\rselect 'a\rb'; -- c\r\n\rselect 1;")
    assert [(s.line, s.column, s.text) for s in script.statements] == [
        (2, 1, "select 'a\rb'"),
        (5, 1, "select 1"),
    ]
    assert [(c.text, c.line, c.column) for c in script.comments] == [("-- é", 1, 1), ("-- c", 3, 5)]


@pytest.mark.parametrize(
    "text",
    [
        "select 'a\u00a0b' 1 2;",
        'select "a\u00a0b" 1 2;',
        "/* \u00a0 */ select 1 2;",
        "select $$\u00a0$$ 1 2;",
        "select é 1 2;",
    ],
)
def test_an_invisible_character_where_it_may_be_is_not_blamed(text: str) -> None:
    assert refusal_of(text).message.startswith("syntax error at or near")


@pytest.mark.parametrize(("character", "name"), INVISIBLE)
def test_an_invisible_character_inside_an_accepted_name_is_found(character: str, name: str) -> None:
    script = parse(f"select 'é';\ncreate table a{character} ({character} int);")
    what = f"an invisible character, {name}"
    assert script.invisible == ((26, what), (29, what))


@pytest.mark.parametrize(
    "text",
    [
        "select '\u00a0', E'\u200b', $$\u00a0$$, U&'\u00a0';",
        'create table "a\u00a0b" (U&"\u00a0" int);',
        "-- \u00a0\n/* \u200b */ select 1;",
        "create table été_ß_名前 (i int);",
        "select 1;",
    ],
)
def test_a_visible_name_and_quoted_text_hide_nothing(text: str) -> None:
    assert parse(text).invisible == ()


# --- token checksums --------------------------------------------------------------------------


def tokens(text: str) -> str:
    """Give the checksum of the tokens of a text."""
    return parse(text).token_checksum


def test_the_checksum_of_the_tokens_never_changes() -> None:
    # printf 'select\0001\0;\0' | sha256sum: what is stored in histories, for ever.
    assert tokens("select 1;") == (
        "tok-1:21f6040596e4730b81fa8c173244154b0517deec8e96dd3cf16071a3f6bb8027"
    )


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param("select a  ,\n\t'x y' from t ;\n", id="blanks"),
        pytest.param("select a, 'x y' from t;-- c", id="comment-behind"),
        pytest.param("-- c\nselect a, /* é /* b */ */ 'x y' from t;", id="comments"),
        pytest.param("select a,'x y'from t;", id="no-blanks"),
        pytest.param("select a,\r'x y'\f from t;", id="other-blanks"),
    ],
)
def test_comments_and_blanks_do_not_change_the_checksum_of_the_tokens(edited: str) -> None:
    assert tokens(edited) == tokens("select a, 'x y' from t;")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("select a b", "select ab", id="joined-words"),
        pytest.param("select 'x y'", "select 'x  y'", id="blank-in-a-string"),
        pytest.param("select 'x -- y'", "select 'x -- z'", id="comment-in-a-string"),
        pytest.param("select 'x'", "select 'X'", id="case-in-a-string"),
        pytest.param("do $$ a -- b\n$$", "do $$ a -- c\n$$", id="comment-in-a-body"),
        pytest.param("do $$ a $$", "do $$ a  $$", id="blank-in-a-body"),
        pytest.param('select 1 as "a b"', 'select 1 as "a  b"', id="blank-in-a-name"),
        pytest.param("select 1 - -1", "select 1 -1", id="sign"),
        pytest.param("select 1, 2", "select 12", id="joined-numbers"),
        pytest.param("select E'a'", "select E 'a'", id="prefix"),
        pytest.param("select 1; select 2", "select 1; select 3", id="number"),
        pytest.param("select a", "select é", id="letter"),
        pytest.param("select 'a\n'", "select 'a\n\n'", id="line-end-in-a-string"),
        pytest.param("select 1;", "select 1", id="semicolon"),
    ],
)
def test_a_real_edit_changes_the_checksum_of_the_tokens(one: str, other: str) -> None:
    assert tokens(one) != tokens(other)


# --- properties -------------------------------------------------------------------------------

# Anything that a text may hold, with what confuses splitters more often than chance would bring it.
CONFUSING = st.sampled_from([";", "'", '"', "$$", "$a$", "--", "/*", "*/", "\\", "\n", "é", "end;"])
ANYTHING = st.lists(
    CONFUSING | st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=3),
    max_size=6,
).map("".join)

COMMENT = st.one_of(
    ANYTHING.map(lambda text: "--" + text.replace("\n", " ") + "\n"),
    ANYTHING.map(lambda text: f"/* {text.replace('/', '_').replace('*', '_')} */"),
    ANYTHING.map(lambda text: f"/* /* {text.replace('/', '_').replace('*', '_')} */ ; */"),
)
BLANK = st.lists(st.sampled_from([" ", "\n", "\t"]) | COMMENT, max_size=3).map("".join)

STRING = ANYTHING.map(lambda text: "'" + text.replace("'", "''") + "'")
ESCAPED = ANYTHING.map(lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'")
DOLLARS = st.tuples(st.sampled_from(["", "a", "body", "é_1"]), ANYTHING).map(
    lambda pair: f"${pair[0]}$" + pair[1].replace("$", "_") + f"${pair[0]}$"
)
NESTED_DOLLARS = ANYTHING.map(lambda text: f"$o$ $$ {text.replace('$o$', '')} $$;'\"--/* $o$")
VALUE = st.one_of(STRING, ESCAPED, DOLLARS, NESTED_DOLLARS, st.integers(0, 99).map(str))
NAME = ANYTHING.map(lambda text: '"' + f"n{text}".replace('"', '""') + '"')

SELECT = st.tuples(st.lists(st.tuples(BLANK, VALUE, NAME), min_size=1, max_size=3)).map(
    lambda parts: "select " + ", ".join(f"{b}{v} as {n}" for b, v, n in parts[0])
)
CREATE = st.tuples(NAME, BLANK, NAME, STRING).map(
    lambda p: f"create table {p[0]} {p[1]}({p[2]} text default {p[3]})"
)
ATOMIC = st.tuples(BLANK, st.lists(st.tuples(SELECT, BLANK), min_size=1, max_size=2)).map(
    lambda parts: (
        f"create function f() returns text language sql {parts[0]} begin atomic\n"
        + "".join(f"{select};{blank}" for select, blank in parts[1])
        + "select case when true then 'end;' end;\nend"
    )
)
STATEMENT = st.one_of(SELECT, CREATE, ATOMIC)


@patient
@given(st.lists(st.tuples(BLANK, STATEMENT), max_size=4), BLANK)
def test_statements_joined_by_semicolons_are_given_back_one_for_one(
    parts: list[tuple[str, str]], tail: str
) -> None:
    text = "".join(f"{blank}{statement};" for blank, statement in parts) + tail
    assert statements_of(text) == [statement for _, statement in parts]


@patient
@given(st.lists(st.tuples(BLANK, STATEMENT), min_size=1, max_size=4))
def test_a_last_statement_needs_no_semicolon(parts: list[tuple[str, str]]) -> None:
    text = ";".join(f"{blank}{statement}" for blank, statement in parts)
    assert statements_of(text) == [statement for _, statement in parts]


@patient
@given(st.lists(st.tuples(BLANK, STATEMENT), max_size=4), BLANK)
def test_an_error_is_placed_behind_whatever_stands_before_it(
    parts: list[tuple[str, str]], blank: str
) -> None:
    before = "".join(f"{blank}{statement};" for blank, statement in parts) + blank
    assert refusal_of(f"{before}selec 1;").position == len(before)


@patient
@given(st.lists(st.tuples(BLANK, BLANK, STATEMENT), max_size=4))
def test_comments_between_statements_are_no_tokens(parts: list[tuple[str, str, str]]) -> None:
    with_comments = "".join(f"{one}{statement}{two}\n;" for one, two, statement in parts)
    without = "".join(f"{statement};" for _, _, statement in parts)
    assert tokens(with_comments) == tokens(without)


@patient
@given(st.lists(VALUE | NAME, min_size=1, max_size=5), st.data())
def test_blanks_between_tokens_are_no_tokens(values: list[str], data: st.DataObject) -> None:
    text = "select "
    for value in values:
        text += data.draw(BLANK) + value + " " + data.draw(BLANK) + ","
    assert tokens(text + "1") == tokens("select " + "".join(f"{v}," for v in values) + "1")


@patient
@given(VALUE, VALUE)
def test_another_value_is_another_checksum(one: str, other: str) -> None:
    assert (tokens(f"select {one}") == tokens(f"select {other}")) == (one == other)


@patient
@given(VALUE, COMMENT)
def test_every_comment_is_found_whole_and_nothing_else_is_one(value: str, comment: str) -> None:
    [found] = parse(f"select {value} {comment}").comments
    assert found.text == comment.rstrip("\n")
    assert found.start == len(f"select {value} ")


# --- DO blocks --------------------------------------------------------------------------------


def in_block(text: str) -> tuple[Statement, ...]:
    """Give what is in the only DO block of a text; each must stand where it says."""
    script = parse(text)
    [block] = [statement for statement in script.statements if statement.kind == "do_stmt"]
    for statement in parse_block(script, block):
        assert block.start < statement.start < statement.end < block.end
    return parse_block(script, block)


@pytest.mark.parametrize(
    "opening",
    ["do $$", "do\n\n$body$", "-- é\nselect 'é'; do $$", "do language plpgsql '"],
)
def test_the_sql_of_a_block_stands_where_it_says(opening: str) -> None:
    closing = {"$body$": "$body$", "'": "'"}.get(opening.rsplit(maxsplit=1)[-1], "$$")
    text = f"{opening} begin\n  if true then\n    delete from t;\n  end if;\nend {closing};"
    [statement] = in_block(text)
    assert statement.text == "delete from t"
    assert text[statement.start : statement.end] == statement.text
    assert place(text, statement.start) == (statement.line, statement.column)
    assert statement.line == opening.count("\n") + 3
    location = statement.node.relation.location
    assert text.encode()[statement.origin + location :].startswith(b"t;")


def test_statements_of_one_line_are_told_apart() -> None:
    text = "do $$ begin delete from t; delete from t; delete from t2; end $$"
    assert [(s.text, s.column) for s in in_block(text)] == [
        ("delete from t", 13),
        ("delete from t", 28),
        ("delete from t2", 43),
    ]


def test_what_a_block_selects_into_variables_is_blanked() -> None:
    [statement] = in_block("do $$ declare x int; begin\n  select a into x\n  from t; end $$")
    assert statement.text.split() == ["select", "a", "from", "t"]
    assert (statement.line, statement.column) == (2, 3)


def test_an_execute_of_one_string_is_read_and_any_other_is_not() -> None:
    read = "execute 'drop table a'; execute $x$drop table b$x$;"
    text = f"do $$ begin {read} execute 'drop ' || c; end $$"
    assert [s.text for s in in_block(text)] == ["drop table a", "drop table b"]


def test_the_ends_of_transactions_in_a_block_are_seen() -> None:
    text = "do $$ begin\n  commit;\n  if true then ROLLBACK; end if;\nend $$"
    assert [(s.kind, s.line, s.column) for s in in_block(text)] == [
        (Ends.COMMIT, 2, 3),
        (Ends.ROLLBACK, 3, 16),
    ]


def test_what_runs_in_branches_loops_and_handlers_is_seen() -> None:
    text = """do $$
    declare r record;
    begin
        for r in select a from t1 loop
            insert into t2 values (r.a);
        end loop;
        case when true then delete from t3; else delete from t4; end case;
    exception when others then
        call p();
        perform f();
    end $$"""
    assert [(s.kind, s.line) for s in in_block(text)] == [
        ("select_stmt", 4),
        ("insert_stmt", 5),
        ("delete_stmt", 7),
        ("delete_stmt", 7),
        ("call_stmt", 9),
        ("select_stmt", 10),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "do $$ begin no sense; end $$",
        "do $$ declare r app.mine; begin delete from t; end $$",
        "do 'begin delete from t where a = ''b''; end'",
        "do e'begin\\n delete from t; end'",
        "do language sql 'delete from t'",
        "do language plpgsql",
    ],
)
def test_a_block_that_cannot_be_read_gives_nothing(text: str) -> None:
    assert in_block(text) == ()


@patient
@given(st.text(alphabet="abc;'$ \n:=éselectinobgd", max_size=80))
def test_no_block_crashes_the_parser(body: str) -> None:
    try:
        script = parse(f"do $x$ begin {body}; end $x$")
    except NotParsed:
        return
    for statement in script.statements:
        if statement.kind == "do_stmt":
            parse_block(script, statement)


# --- parse trees ------------------------------------------------------------------------------


def test_every_node_is_walked_and_those_in_a_sub_select_are_told_apart() -> None:
    [statement] = parse("select f(1), (select g(2))").statements
    calls = {
        node.funcname[0].string.sval: inside
        for name, node, inside in walk(statement.node)
        if name == "FuncCall"
    }
    assert calls == {"f": False, "g": True}


def test_a_value_of_an_enum_has_its_name() -> None:
    [statement] = parse("alter table t drop column a cascade").statements
    command = statement.node.cmds[0].alter_table_cmd
    assert word_of(command, "subtype") == "AT_DropColumn"
    assert word_of(command, "behavior") == "DROP_CASCADE"


# --- tokens and names -------------------------------------------------------------------------


def test_tokens_of_a_statement_have_the_places_of_their_characters() -> None:
    text = "select 'é'; -- x\nalter /* y */ table app.\"É\" add c int;"
    script = parse(text)
    tokens = script.tokens_of(script.statements[1])
    words = [token.text for token in tokens]
    assert words == ["alter", "table", "app", ".", '"É"', "add", "c", "int"]
    assert [text[token.start : token.end] for token in tokens] == words
    column = script.statements[1].node.cmds[0].alter_table_cmd
    location = getattr(column, "def").column_def.location
    assert [token.text for token in tokens if token.location == location] == ["c"]


@pytest.mark.parametrize(
    ("name", "sql"),
    [("tags", "tags"), ("Tags", '"Tags"'), ("user", '"user"'), ('a"b', '"a""b"'), ("é", '"é"')],
)
def test_names_are_quoted_where_they_need_it(name: str, sql: str) -> None:
    assert quoted(name) == sql


# --- the actions of an ALTER TABLE ------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "on"),
    [
        ("full", True),
        ("full true", True),
        ("full 1", True),
        ("full false", False),
        ("full 'OFF'", False),
        ("full 0", False),
        ("full, full off", False),
        ("full off, full", True),
        ("analyze", None),
    ],
)
def test_an_option_is_read_as_the_server_does(options: str, on: bool | None) -> None:
    [statement] = parse(f"vacuum ({options}) app.t").statements
    for default in (True, False):
        expected = default if on is None else on
        assert option_is_on(statement.node.options, "full", default=default) is expected


def actions_of(text: str) -> list[str]:
    script = parse(text)
    found = script.actions_of(script.statements[-1])
    assert all(
        script.text[action.start : action.end] == action.text[-(action.end - action.start) :]
        for action in found
    )
    return [action.text for action in found]


def test_actions_are_statements_of_their_own() -> None:
    text = (
        "select 'é';\nALTER TABLE IF EXISTS \"Ä\".t *\n"
        "  ADD COLUMN a numeric(10, 2), -- one, two\n"
        "  ALTER b TYPE int[] USING array[1, 2],\n  DROP COLUMN c;"
    )
    head = 'ALTER TABLE IF EXISTS "Ä".t *\n  '
    assert actions_of(text) == [
        f"{head}ADD COLUMN a numeric(10, 2)",
        f"{head}ALTER b TYPE int[] USING array[1, 2]",
        f"{head}DROP COLUMN c",
    ]


def test_one_action_is_the_statement_and_other_statements_have_none() -> None:
    assert actions_of("alter table t drop column c;") == ["alter table t drop column c"]
    assert actions_of("create table t (a int, b int);") == []


@pytest.mark.parametrize("text", ["alter table a.t add b int, drop c", "alter view v owner to o"])
def test_each_action_parses(text: str) -> None:
    for action in actions_of(text):
        assert len(parse(action).statements) == 1
