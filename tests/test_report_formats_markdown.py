"""A comment for a pull request, read back by a parser of Markdown."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from headwater.outcomes import LockMode
from headwater.report.formats import formatted
from headwater.report.formats.markdown import LIMIT, MARK
from headwater.report.formats.place import readable
from headwater.verdicts import Change, ChangeKind, Effect, Linted, Traced, TracedStatement
from tests.lint_samples import EVERYTHING, NAMELESS, PLACE, REWRITE, hostile, texts

READER = MarkdownIt("commonmark", {"html": True}).enable("table")


def comment(outcome: Linted) -> str:
    text = formatted(outcome, "markdown", PLACE)
    assert len(text) < LIMIT
    return text


def text_of(inline: Token) -> str:
    """Give the words of an inline token, as they are shown."""
    return "".join(
        child.content
        for child in inline.children or ()
        if child.type in ("text", "code_inline", "fence")
    ).replace("\u200b", "")


def rows(text: str) -> list[list[str]]:
    """Give the cells of every row of every table, with its head."""
    found = list[list[str]]()
    tokens = READER.parse(text)
    for before, token in itertools.pairwise(tokens):
        if before.type == "tr_open":
            found.append([])
        if token.type == "inline" and before.type in ("th_open", "td_open"):
            found[-1].append(text_of(token))
    return found


def items(text: str) -> list[str]:
    """Give the words of every item of a list, inner ones too."""
    tokens = READER.parse(text)
    pairs = itertools.pairwise(tokens)
    inside = 0
    found = []
    for before, token in pairs:
        inside += {"list_item_open": 1, "list_item_close": -1}.get(before.type, 0)
        if inside and token.type == "inline":
            found.append(text_of(token))
    return found


def flat(text: str) -> str:
    """Give what is left of a text: on one line, without what is not drawn."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def every(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from every(token.children or ())


def test_the_comment_tells_changes_locks_findings_and_notes() -> None:
    text = comment(EVERYTHING)
    assert text.startswith(f"{MARK}\n## Migrations: 3 findings in 2 files: 1 error")
    headings = [t.content for t in READER.parse(text) if t.type == "inline" and t.map]
    assert [h for h in headings if h in ("Schema", "Locks", "Findings", "Notes")] == [
        "Schema", "Locks", "Findings", "Notes",
    ]  # fmt: skip
    assert items(text)[:3] == [
        "column kb.documents.n: type integer -> bigint",
        "table kb.new: created",
        "view kb.old_names: dropped",
    ]
    assert rows(text) == [
        ["Where", "Statement", "Relation", "Lock", "Meanwhile", "Work"],
        [
            "20250101_big.sql:4",
            "alter table kb.documents alter column n type bigint",
            "kb.documents",
            "ACCESS EXCLUSIVE",
            "blocks reads and writes",
            (
                "writes all of it anew (column type); builds kb.documents_n_idx; "
                "48 M rows, 41 GB, about 12 min"
            ),
        ],
        [
            "20250101_big.sql:4",
            "alter table kb.documents alter column n type bigint",
            "kb.tags",
            "SHARE ROW EXCLUSIVE",
            "blocks writes",
            "reads all of it; 12 rows, 8 kB, less than a second",
        ],
        [
            "20250101_big.sql:9",
            "do $$",
            "kb.recent",
            "",
            "",
            "changes 1.2 k rows of the scratch database; still locked: kb.documents, kb.tags",
        ],
        [
            "20250101_big.sql:9",
            "do $$",
            "kb.old_names",
            "",
            "",
            "drops by cascade: view kb.old_names",
        ],
        ["20250101_big.sql:12", "create role reader", "", "", "", "not run: it would stay"],
    ]
    assert items(text)[3:8] == [
        (
            "error changing-column-type db/migrations/20250101_big.sql:4:1: "
            "The table is written anew while nobody can read it."
        ),
        "Measured: kb.documents is written anew under ACCESS EXCLUSIVE; 48 M rows, 41 GB.",
        "Why: A rewrite takes as long as the table is large.",
        "Instead: add a column of the new type, fill it in batches, swap the names",
        "warning ban-drop-table db/migrations/20250101_big.sql:7:5: What reads it fails.",
    ]
    assert items(text)[-3:] == [
        "note: squawk is not installed",
        "20250101_big.sql leaves unfinished: constraint positive on kb.documents (NOT VALID)",
        "20250101_big.sql: no event triggers: this role is no superuser",
    ]
    assert "Left out" not in text


def test_nothing_found_is_one_heading() -> None:
    assert comment(Linted(findings=(), files=2)) == (
        f"{MARK}\n## Migrations: nothing found in 2 files\n"
    )


def test_a_safe_form_of_several_lines_is_a_block_of_sql() -> None:
    hint = "alter table kb.t add c text;\n\n-- later\n````\nupdate kb.t set c = 'x';\n"
    text = comment(Linted(findings=(replace(NAMELESS, hint=hint),), files=1))
    [fence] = [token for token in READER.parse(text) if token.type == "fence"]
    assert (fence.info, fence.content) == ("sql", hint)


def test_a_rule_links_to_its_page_where_there_is_a_url() -> None:
    place = replace(PLACE, pages="https://example.org/kb")
    text = formatted(Linted(findings=(REWRITE,), files=1), "markdown", place)
    [link] = [token for token in every(READER.parse(text)) if token.type == "link_open"]
    assert link.attrs["href"] == "https://example.org/kb/docs/rules/changing-column-type.md"


def test_the_worst_findings_come_first() -> None:
    text = comment(Linted(findings=(NAMELESS, REWRITE), files=1))
    assert text.index("changing-column-type") < text.index("no-migration")


# --- limits -----------------------------------------------------------------------------------


def many(count: int, width: int) -> Linted:
    """Give as many findings, rows and changes, each of a width."""
    words = "x" * width
    effect = Effect(relation="kb.t", kind="table", lock=LockMode.SHARE)
    statement = TracedStatement(number=1, line=1, text=words, effects=(effect,))
    change = Change(object=f"table kb.{words}", change=ChangeKind.EXTRA)
    trace = Traced(
        version="v",
        transactional=True,
        statements=(statement,) * count,
        changes=(change,) * count,
    )
    findings = (replace(NAMELESS, message=words, rule="r"),) * count
    return Linted(findings=findings, files=1, traces=(trace,))


@pytest.mark.parametrize(
    ("count", "width", "whole"),
    [(900, 10, False), (200, 500, False), (300, 20, True), (1, 10**6, True)],
)
def test_a_comment_ends_before_its_limit_and_says_what_it_left_out(
    count: int, width: int, whole: bool
) -> None:
    text = comment(many(count, width))
    changes = text.count("created")
    shown = {
        "finding": len(items(text)) - changes,
        "row": max(len(rows(text)) - 1, 0),
        "change": changes,
    }
    left = {word: int(n) for n, word in re.findall(r"(\d+) of \d+ (finding|row|change)s?", text)}
    assert {word: number + left.get(word, 0) for word, number in shown.items()} == dict.fromkeys(
        shown, count
    )
    assert ("A comment holds 65,536 characters. Left out: " in text) == bool(left)
    assert whole == (not left)


def test_findings_have_room_before_locks_and_those_before_changes() -> None:
    text = comment(many(400, 60))
    assert "Left out" in text
    assert not re.search(r"\d+ of 400 findings", text)
    assert re.search(r"400 of 400 changes", text)


# --- whatever is said -------------------------------------------------------------------------


def safe(text: str) -> None:
    """Require that no word of others is anything but text."""
    tokens = list(every(READER.parse(text)))
    assert not {token.type for token in tokens} & {"link_open", "image", "hr", "blockquote_open"}
    html = {t.content for t in tokens if t.type in ("html_inline", "html_block")}
    assert html <= {"<code>", "</code>", f"{MARK}\n"}
    in_code = False
    for token in tokens:
        if token.type == "html_inline":
            in_code = token.content == "<code>"
        elif token.type == "text" and not in_code:
            assert not re.search(r"[@#]\w", token.content), "somebody is called"
    headings = [token for token in tokens if token.type == "heading_open"]
    assert len(headings) <= 5


@pytest.mark.parametrize("note", ["--", "1. a", "# a", "- a", "+ a", "===", "    a", "~~~"])
def test_a_note_is_a_sentence_whatever_it_begins_with(note: str) -> None:
    text = comment(Linted(findings=(), files=1, notes=(note,)))
    safe(text)
    assert items(text) == [f"note: {note.strip()}"]


def test_a_name_in_code_calls_nobody_and_ends_nothing() -> None:
    finding = replace(REWRITE, file="@a`|<b>\\.sql", message="see @b, #1 and www.c.org, *now*")
    text = comment(Linted(findings=(finding,), files=1))
    safe(text)
    assert items(text)[0] == (
        "error changing-column-type db/migrations/@a`|<b>\\.sql:4:1: "
        "see @b, #1 and www.c.org, *now*"
    )


@settings(max_examples=50, deadline=None)
@given(hostile)
def test_whatever_is_found_is_text(outcome: Linted) -> None:
    text = comment(outcome)
    safe(text)
    outcome = readable(outcome)
    shown = " ".join(flat(item) for item in items(text))
    for finding in outcome.findings:
        assert flat(finding.message) in shown
        for beside in (finding.hint, finding.measured):
            assert "\n" in beside.strip() or flat(beside) in shown


@settings(max_examples=50, deadline=None)
@given(texts, texts, texts)
def test_whatever_is_traced_is_a_row_of_six_cells(text: str, name: str, reason: str) -> None:
    effect = Effect(relation=name, kind="table", lock=LockMode.SHARE, rewrite=reason or "r")
    statement = TracedStatement(number=1, line=3, text=text, effects=(effect,))
    trace = Traced(version="v", transactional=True, statements=(statement,))
    written = comment(Linted(findings=(), files=1, traces=(trace,)))
    safe(written)
    [_, row] = rows(written)
    assert row[0] == "v.sql:3"
    assert row[1:4] == [flat(text), flat(name), "SHARE"]
    assert row[5] == flat(f"writes all of it anew ({reason or 'r'})")


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, min_size=1, max_size=3).map("\n".join))
def test_whatever_a_block_holds_ends_with_it(hint: str) -> None:
    text = comment(Linted(findings=(replace(NAMELESS, hint=f"a\n{hint}\nb"), REWRITE), files=1))
    safe(text)
    [fence] = [token for token in READER.parse(text) if token.type == "fence"]
    assert fence.content.startswith("a\n")
    assert fence.content.endswith("b\n")
