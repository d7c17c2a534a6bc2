"""The plan of a file: what each statement locks and does, in words that fit a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.outcomes import LockMode, TableLock
from headwater.report.forms import folded
from headwater.report.traced import is_quiet, traced_lines
from headwater.verdicts import Effect, Gone, Traced, TracedStatement
from tests.lint_samples import QUIET, TRACE, WEIGHTS

AT_80 = """\
20250101_big.sql: 4 statements, in one transaction
  line 1: nothing that was there is touched
  line 4: alter table kb.documents alter column n type bigint
      kb.documents: ACCESS EXCLUSIVE, blocks reads and writes
        writes all of it anew (column type)
        builds kb.documents_n_idx
        48 M rows, 41 GB, about 12 min
      kb.tags: SHARE ROW EXCLUSIVE, blocks writes; reached from another relation
        reads all of it
        12 rows, 8 kB, less than a second
  line 9: do $$
      materialized view kb.recent: no new lock
        changes 1.2 k rows of the scratch database
      drops: table kb.old
      drops by cascade: view kb.old_names
      does what its text does not say: DROP TABLE kb.old
      leaves settings changed: search_path
      still locked meanwhile: kb.documents (blocks reads and writes), kb.tags
          (blocks writes)
  line 12: create role reader
      not run: it would stay
  left unfinished: constraint positive on kb.documents (NOT VALID)
"""

AT_40 = """\
20250101_big.sql: 4 statements, in one
  transaction
  line 1: nothing that was there is
      touched
  line 4: alter table kb.documents alter
      column n type bigint
      kb.documents: ACCESS EXCLUSIVE,
          blocks reads and writes
"""


def plan(traced: Traced, width: int) -> str:
    pieces = (piece for line in traced_lines(traced, WEIGHTS) for piece in folded(line, width))
    return "".join(f"{piece}\n" for piece in pieces)


def lines_of(*statements: TracedStatement) -> list[str]:
    traced = Traced(version="v", transactional=True, statements=statements)
    return [line.text for line in traced_lines(traced)]


def statement(line: int, **facts: object) -> TracedStatement:
    given = TracedStatement(number=line, line=line, text=f"select {line}")
    return replace(given, **facts)  # type: ignore[arg-type]


def effect(lock: LockMode | None = None, *, scans: int = 0) -> Effect:
    return Effect(relation="kb.t", kind="table", lock=lock, scans=scans)


def test_a_plan_reads_well_at_80_columns() -> None:
    assert plan(TRACE, 80) == AT_80


def test_a_plan_reads_well_at_40_columns() -> None:
    assert plan(TRACE, 40).startswith(AT_40)
    assert plan(TRACE, 40).split() == AT_80.split()
    assert max(map(len, plan(TRACE, 40).splitlines())) <= 40


def test_a_file_that_touches_nothing_is_one_line() -> None:
    assert is_quiet(QUIET)
    assert plan(QUIET, 200) == (
        "20250102_small.sql: 1 statement, one by one, without a transaction; "
        "nothing that was there is touched\n"
    )


def test_statements_that_touch_nothing_are_counted_where_they_stand() -> None:
    told = lines_of(
        statement(1), statement(2), statement(5, effects=(effect(LockMode.SHARE),)), statement(7)
    )
    assert told[1:] == [
        "  lines 1 to 2: 2 statements; nothing that was there is touched",
        "  line 5: select 5",
        "      kb.t: SHARE, blocks writes",
        "  line 7: nothing that was there is touched",
    ]


@pytest.mark.parametrize(
    "noisy",
    [
        pytest.param({"effects": (effect(LockMode.SHARE),)}, id="lock"),
        pytest.param({"hidden": ("CREATE TABLE",)}, id="hidden"),
        pytest.param({"settings": ("role",)}, id="setting"),
        pytest.param({"held": (TableLock(relation="kb.t", mode=LockMode.SHARE),)}, id="held"),
        pytest.param({"skipped": "why"}, id="not-run"),
        pytest.param({"gone": (Gone(kind="view", identity="v", cascade=True),)}, id="cascade"),
    ],
)
def test_what_is_to_be_told_of_a_statement_makes_its_file_a_plan(noisy: dict[str, object]) -> None:
    traced = Traced(version="v", transactional=True, statements=(statement(1, **noisy),))
    assert not is_quiet(traced)
    assert len(list(traced_lines(traced))) > 2


@pytest.mark.parametrize("end", [{"unfinished": ("i",)}, {"error": "e"}])
def test_what_is_to_be_told_of_a_file_makes_it_a_plan(end: dict[str, object]) -> None:
    traced = replace(QUIET, **end)  # type: ignore[arg-type]
    assert not is_quiet(traced)
    [told] = [line.text for line in traced_lines(traced)][2:]
    assert told.endswith((" i", " e"))


def test_an_error_of_several_lines_is_one_line() -> None:
    [*_, last] = traced_lines(replace(QUIET, error="no such table\n  HINT:  look"))
    assert last.text == "  does not run: no such table HINT: look"


def test_only_what_blocks_has_a_colour_and_red_is_what_lasts() -> None:
    def style(given: Effect) -> str:
        traced = Traced(
            version="v", transactional=True, statements=(statement(1, effects=(given,)),)
        )
        return list(traced_lines(traced))[2].style

    assert style(effect(LockMode.ACCESS_EXCLUSIVE, scans=1)) == "red"
    assert style(effect(LockMode.ACCESS_EXCLUSIVE)) == "yellow"
    assert style(effect(LockMode.SHARE_UPDATE_EXCLUSIVE, scans=1)) == ""
    assert style(effect()) == ""


def test_without_weights_nothing_is_said_of_sizes() -> None:
    assert not any("rows," in line.text for line in traced_lines(TRACE))


def test_of_a_long_line_of_sql_the_beginning_is_shown() -> None:
    told = lines_of(statement(1, text="x" * 101, skipped="why"))
    assert told[1] == f"  line 1: {'x' * 100} …"
