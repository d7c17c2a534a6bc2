"""Post-conditions and checks: lists of questions with one answer each."""

from __future__ import annotations

import pytest

from headwater.files.accepted import Sentence
from headwater.files.sentences import read_sentences
from headwater.model import Finding


def sentences_of(text: str) -> tuple[Sentence, ...]:
    """Read sentences that must all be fine."""
    read = read_sentences(text, "checks/a.sql")
    assert read.findings == ()
    return read.sentences


def only_fault(text: str) -> Finding:
    """Read a text with exactly one fault and no sentence."""
    read = read_sentences(text, "checks/a.sql")
    assert read.sentences == ()
    [finding] = read.findings
    assert finding.file == "checks/a.sql"
    return finding


def test_each_sentence_has_its_query_and_its_line() -> None:
    text = """\
-- The contract of the schema; é.
select count(*) = 2 as "there are two tables"
from pg_tables;

/* ; */ select true as "it's; fine";
"""
    assert sentences_of(text) == (
        Sentence(
            sentence="there are two tables",
            query='select count(*) = 2 as "there are two tables"\nfrom pg_tables',
            file="checks/a.sql",
            line=2,
        ),
        Sentence(
            sentence="it's; fine",
            query='select true as "it\'s; fine"',
            file="checks/a.sql",
            line=5,
        ),
    )


@pytest.mark.parametrize(
    "query",
    [
        'select true "s"',
        "select true as s",
        '(select true as "s")',
        'with x as (select 1) select count(*) = 1 as "s" from x',
        'with recursive x as (select 1 union all select 2) select true as "s" from x',
        'select exists (select from t) as "s"',
        'select true as "s" from t group by a having true limit 1',
    ],
)
def test_a_select_of_one_named_column_is_a_sentence(query: str) -> None:
    [sentence] = sentences_of(query)
    assert sentence.sentence.strip('"') == "s"
    assert sentence.query == query


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("select true", id="no-name"),
        pytest.param("select a from t", id="a-column-without-a-name"),
        pytest.param('select true as " "', id="blank-name"),
        pytest.param('select true as "a", true as "b"', id="two-columns"),
        pytest.param("select * from t", id="star"),
        pytest.param("select from t", id="no-column"),
        pytest.param("values (true)", id="values"),
        pytest.param("table t", id="table"),
        pytest.param('select true as "a" union select false as "a"', id="union"),
        pytest.param('select true as "a" into t', id="into"),
        pytest.param("insert into t values (1)", id="insert"),
        pytest.param('insert into t values (1) returning true as "a"', id="insert-returning"),
        pytest.param(
            'with x as (delete from t returning 1) select count(*) = 0 as "a" from x',
            id="delete-in-with",
        ),
        pytest.param(
            'with y as (select 1), x as (update t set a = 1 returning 1) select true as "a"',
            id="update-in-second-with",
        ),
        pytest.param("create table t ()", id="definition"),
        pytest.param("commit", id="transaction-control"),
        pytest.param("do $$ begin end $$", id="do"),
        pytest.param('explain select true as "a"', id="explain"),
        pytest.param("copy a from stdin", id="copy"),
    ],
)
def test_anything_else_is_no_sentence(query: str) -> None:
    finding = only_fault(f"-- é\n  {query};")
    assert finding.rule == "not-a-sentence"
    assert (finding.line, finding.column) == (2, 3)
    assert finding.source == f"  {query};"
    assert finding.hint.startswith("write: select count(*) = 0 as ")


def test_good_sentences_are_read_beside_faults() -> None:
    read = read_sentences('select true as "a";\nselect 1;\nselect true as "b";\nvalues (1);', "a")
    assert [sentence.sentence for sentence in read.sentences] == ["a", "b"]
    assert [finding.line for finding in read.findings] == [2, 4]


@pytest.mark.parametrize("text", ["", "-- nothing\n", ";"])
def test_a_file_without_a_sentence_is_a_fault(text: str) -> None:
    finding = only_fault(text)
    assert (finding.rule, finding.message) == ("empty", "the file holds no sentence")
    assert (finding.line, finding.column) == (1, 1)


def test_a_syntax_error_is_told_with_its_place() -> None:
    finding = only_fault("select true as \"é\";\nselect 'é' 1;")
    assert (finding.rule, finding.line, finding.column) == ("syntax", 2, 12)
    assert finding.source == "select 'é' 1;"


def test_a_psql_command_is_told_with_advice() -> None:
    finding = only_fault("\\i other.sql")
    assert finding.message == "\\i is a psql command, not SQL"
    assert finding.hint == "remove it"


@pytest.mark.parametrize(
    "sentence",
    [
        pytest.param("a" * 63, id="just-not-cut"),
        pytest.param("a" * 64, id="cut-by-one"),
        pytest.param("every document has a hash, an owner and a project, " * 5, id="long"),
        pytest.param("é" * 100, id="letters-of-two-bytes"),
        pytest.param("x" + "\u20ac" * 100, id="letters-of-three-bytes"),
        pytest.param("xx" + "\U0001f600" * 100, id="letters-of-four-bytes"),
        pytest.param('a "quoted" word ' * 20, id="quotes"),
        pytest.param("(.*)+[a-z]\\" * 20, id="what-means-something-in-patterns"),
    ],
)
def test_a_sentence_that_postgresql_would_cut_is_told_whole(sentence: str) -> None:
    quoted = sentence.replace('"', '""')
    [read] = sentences_of(f'select true as "{quoted}";')
    assert read.sentence == sentence


def test_a_long_name_without_quotes_stays_as_it_is_cut() -> None:
    [read] = sentences_of(f"select true as {'a' * 70};")
    assert read.sentence == "a" * 63
