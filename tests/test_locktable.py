"""The page of locks is what each version of PostgreSQL does, statement by statement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.model import Target
from headwater.outcomes import LockMode
from tests.lockstatements import FORMS
from tests.locktable import (
    PAGE,
    Line,
    Measured,
    There,
    lines_of,
    measure,
    page,
    rows_on,
    table,
)
from tests.servers import VERSIONS

ROOT = Path(__file__).parent.parent
WRITE = "write it anew: python -m tests.locktable docs/locks.md"


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / PAGE).read_text(encoding="utf-8")


@pytest.mark.parametrize("major", VERSIONS)
def test_the_page_is_what_a_version_does(
    text: str, server_of_version: Callable[[int], Target], major: int
) -> None:
    lines = measure(server_of_version(major), major)
    alone = page(table({major: lines}))
    assert rows_on(alone, major) == rows_on(text, major), WRITE
    of_all = page(table(dict.fromkeys(VERSIONS, lines)))
    assert above(of_all) == above(text), WRITE
    print(f"statements on {major}: {len({line.statement for line in lines})} of {len(FORMS)}")


def above(text: str) -> str:
    """Give what stands before the first table."""
    return text.partition("\n## ")[0]


def test_every_statement_stands_on_the_page_once_for_each_version(text: str) -> None:
    assert len({form.statement for form in FORMS}) == len(FORMS) > 60
    for major in VERSIONS:
        rows = [row for row in rows_on(text, major) if not row.startswith("| |")]
        assert len(rows) == sum(form.since <= major for form in FORMS)


def line(lock: str, statement: str = FORMS[0].statement) -> Line:
    return Line(statement, "`orders`", lock, "writes", "-")


def test_where_versions_differ_each_has_a_row_that_says_so() -> None:
    old, new = line("SHARE"), line("EXCLUSIVE")
    rows = table({15: [old], 16: [old], 17: [new], 18: [new]})
    assert rows == [(old, (15, 16)), (new, (17, 18))]
    text = page(rows)
    assert [len(rows_on(text, major)) for major in VERSIONS] == [1, 1, 1, 1]
    assert "SHARE |" in rows_on(text, 16)[0] + "|"
    assert "EXCLUSIVE" in rows_on(text, 17)[0]
    assert "| 15 to 16 |" in text
    assert table({major: [old] for major in VERSIONS}) == [(old, VERSIONS)]


def relation(name: str, kind: str = "r", table: int = 0, file: int = 1, size: int = 8192) -> There:
    return There(name=name, kind=kind, table=table, file=file, size=size, scans=0, rows=0)


def test_an_index_has_a_line_where_its_lock_is_the_stronger_one() -> None:
    before = {1: relation("orders"), 2: relation("orders_note", "i", table=1, file=2)}
    seen = Measured(before=before, after=before)
    seen.see([(1, "ShareLock"), (2, "AccessExclusiveLock"), (2, "AccessShareLock")])
    assert [one.relation for one in lines_of(FORMS[0], seen)] == ["`orders`", "index `orders_note`"]
    seen.locks[1] = LockMode.ACCESS_EXCLUSIVE
    assert [one.relation for one in lines_of(FORMS[0], seen)] == ["`orders`"]


def test_a_table_that_is_only_emptied_is_not_said_to_be_written_anew() -> None:
    seen = Measured(before={1: relation("orders")}, after={1: relation("orders", file=3, size=0)})
    [one] = lines_of(FORMS[0], seen)
    assert one.work == "emptied"
    seen.after = {1: relation("orders", file=3)}
    assert lines_of(FORMS[0], seen)[0].work == "new file"
