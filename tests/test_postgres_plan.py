"""The plan: what would run, in which order, and everything that stands against it. No server."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from headwater.errors import HistoryError
from headwater.files.grammar import parse
from headwater.files.text import checksum
from headwater.model import Applied, Directive, Migration, Plan, State
from headwater.postgres.plan import make_plan, require_no_problems

OLD, MIDDLE, NEW = "20240101_old", "20240201_middle", "20240301_new"


def file(version: str, text: str = "", *, transactional: bool = True) -> Migration:
    text = text or f"create table {version.partition('_')[2]} ();\n"
    directives = () if transactional else (Directive(name="no-transaction", value="", line=1),)
    return Migration(
        version=version,
        path=Path(f"{version}.sql"),
        text=text,
        checksum=checksum(text),
        directives=directives,
    )


def files(*versions: str) -> list[Migration]:
    return [file(version) for version in versions]


def row(version: str, text: str = "", *, tokens: str | None = None) -> Applied:
    return Applied(version=version, checksum=file(version, text).checksum, tokens=tokens)


def rows(*versions: str) -> list[Applied]:
    return [row(version) for version in versions]


def states(plan: Plan) -> dict[str, State]:
    return {entry.version: entry.state for entry in plan.entries}


def steps(plan: Plan) -> list[str]:
    return [step.version for step in plan.steps]


def assert_one_problem(plan: Plan, version: str, words: str, advice: str) -> None:
    [problem] = plan.problems
    assert problem.file == f"{version}.sql"
    assert words in problem.message
    assert advice in problem.hint


def test_without_history_everything_is_pending_in_the_order_of_the_names() -> None:
    plan = make_plan(files(NEW, OLD, MIDDLE), [])
    assert steps(plan) == [OLD, MIDDLE, NEW]
    assert set(states(plan).values()) == {State.PENDING}
    assert plan.problems == ()


def test_with_everything_applied_there_is_nothing_to_do() -> None:
    plan = make_plan(files(OLD, NEW), rows(OLD, NEW))
    assert steps(plan) == []
    assert states(plan) == {OLD: State.APPLIED, NEW: State.APPLIED}


def test_order_is_the_plain_byte_order_of_the_names() -> None:
    # "_" (0x5F) stands between digits and letters; a locale's order would ignore it.
    names = ["20240101_a_z", "20240101_ab", "20240101_a1", "0009_z", "20240101_a"]
    assert steps(make_plan(files(*names), [])) == [
        "0009_z",
        "20240101_a",
        "20240101_a1",
        "20240101_a_z",
        "20240101_ab",
    ]


@pytest.mark.parametrize(
    "missing", [OLD, MIDDLE, NEW], ids=["the oldest", "the middle one", "the newest"]
)
def test_pending_is_what_history_lacks_never_what_is_greater_than_the_newest(missing: str) -> None:
    applied = [version for version in (OLD, MIDDLE, NEW) if version != missing]
    plan = make_plan(files(OLD, MIDDLE, NEW), rows(*applied))
    assert steps(plan) == [missing]
    assert states(plan)[missing] in (State.PENDING, State.OUT_OF_ORDER)


def test_an_older_file_that_came_later_is_out_of_order() -> None:
    plan = make_plan(files(OLD, MIDDLE, NEW), rows(OLD, NEW))
    assert states(plan)[MIDDLE] is State.OUT_OF_ORDER
    assert_one_problem(
        plan, MIDDLE, "a later date is applied", f"invoke migrate --out-of-order {MIDDLE}"
    )


def test_it_may_run_out_of_order_when_that_is_said() -> None:
    plan = make_plan(files(OLD, MIDDLE, NEW), rows(OLD, NEW), out_of_order=frozenset({MIDDLE}))
    assert plan.problems == ()
    assert steps(plan) == [MIDDLE]


@pytest.mark.parametrize(
    ("applied", "pending"),
    [("20240201_b", "20240201_a"), ("20240201_a", "20240201_b")],
    ids=["before it by name", "behind it by name"],
)
def test_files_of_one_day_are_never_out_of_order(applied: str, pending: str) -> None:
    plan = make_plan(files("20240201_a", "20240201_b"), rows(applied))
    assert plan.problems == ()
    assert steps(plan) == [pending]


def test_numbers_come_before_dates() -> None:
    plan = make_plan(files("0001_init", "20240101_old"), rows("20240101_old"))
    assert states(plan)["0001_init"] is State.OUT_OF_ORDER


def test_an_edited_file_is_a_problem_with_its_way_out() -> None:
    plan = make_plan([file(OLD, "select 2")], [row(OLD, "select 1")])
    assert states(plan) == {OLD: State.EDITED}
    assert steps(plan) == []
    assert_one_problem(plan, OLD, "edited after it was applied", "as a new migration")


@pytest.mark.parametrize(
    ("text", "cosmetic"),
    [
        ("select 1 -- why", True),
        ("select\n\n  1;", False),
        ("select  1", True),
        ("select '1'", False),
        ("select (", False),
    ],
    ids=["comment", "semicolon", "blank", "literal", "no SQL"],
)
def test_an_edit_of_comments_and_blanks_is_told_apart(text: str, cosmetic: bool) -> None:
    applied = row(OLD, "select 1", tokens=parse("select 1").token_checksum)
    [problem] = make_plan([file(OLD, text)], [applied]).problems
    assert ("comments and blanks only" in problem.message) == cosmetic


def test_an_edit_is_not_called_cosmetic_where_history_has_no_tokens() -> None:
    [problem] = make_plan([file(OLD, "select  1")], [row(OLD, "select 1")]).problems
    assert "only" not in problem.message


def test_a_deleted_file_is_missing() -> None:
    plan = make_plan(files(NEW), rows(OLD, NEW))
    assert states(plan)[OLD] is State.MISSING
    assert_one_problem(plan, OLD, "the file is gone", "version control")


def test_a_row_that_is_newer_than_every_file_means_an_old_checkout() -> None:
    plan = make_plan(files(OLD), rows(OLD, NEW))
    assert states(plan)[NEW] is State.NEWER
    assert_one_problem(plan, NEW, "newer than every file", "pull")


def test_a_renamed_file_is_recognised_by_its_checksum() -> None:
    plan = make_plan([file("20240102_renamed", "select 1")], [row(OLD, "select 1")])
    assert states(plan)[OLD] is State.RENAMED
    assert_one_problem(plan, OLD, "another name", "old name back")


def test_a_copy_of_an_applied_file_is_no_rename() -> None:
    plan = make_plan([file(OLD, "select 1"), file(NEW, "select 1")], [row(OLD, "select 1")])
    assert plan.problems == ()
    assert steps(plan) == [NEW]


def test_a_file_that_is_half_done_simply_goes_on() -> None:
    plan = make_plan([file(OLD, transactional=False), file(NEW)], [], half_done=frozenset({OLD}))
    assert states(plan) == {OLD: State.HALF_DONE, NEW: State.PENDING}
    assert steps(plan) == [OLD, NEW]
    assert plan.problems == ()


def test_a_half_done_file_goes_on_even_though_a_later_one_is_applied() -> None:
    plan = make_plan(
        [file(OLD, transactional=False), file(NEW)], rows(NEW), half_done=frozenset({OLD})
    )
    assert states(plan)[OLD] is State.HALF_DONE
    assert plan.problems == ()


def test_a_half_done_file_may_not_become_transactional() -> None:
    plan = make_plan(files(OLD), [], half_done=frozenset({OLD}))
    assert_one_problem(plan, OLD, "ran without a transaction", "restore the file")


def test_a_half_done_file_may_not_go_away() -> None:
    plan = make_plan(files(NEW), [], half_done=frozenset({OLD}))
    assert states(plan)[OLD] is State.HALF_DONE
    assert_one_problem(plan, OLD, "the file is gone", "restore the file")


def test_all_problems_are_told_at_once_in_the_order_of_the_versions() -> None:
    plan = make_plan(
        [file("20240101_a", "select 2"), file("20240301_c"), file("20240401_d")],
        [row("20240101_a", "select 1"), *rows("20240201_b", "20240401_d", "20250101_e")],
        to="20240999_nothing",
    )
    assert [(p.file, p.rule) for p in plan.problems] == [
        ("20240101_a.sql", "history-edited"),
        ("20240201_b.sql", "history-missing"),
        ("20240301_c.sql", "history-out-of-order"),
        ("20250101_e.sql", "history-unknown"),
        ("", "unknown-version"),
    ]


def test_the_problems_become_one_error() -> None:
    plan = make_plan([file(OLD, "select 2")], [row(OLD, "select 1"), row(NEW)])
    with pytest.raises(HistoryError, match="disagree in 2 places; nothing was run") as caught:
        require_no_problems(plan)
    assert caught.value.findings == plan.problems
    assert caught.value.exit_code == 2


def test_no_problem_is_no_error() -> None:
    require_no_problems(make_plan(files(OLD), []))


def test_to_is_the_last_version_that_runs() -> None:
    plan = make_plan(files(OLD, MIDDLE, NEW), [], to=MIDDLE)
    assert steps(plan) == [OLD, MIDDLE]
    assert states(plan)[NEW] is State.PENDING


def test_to_something_applied_runs_what_is_pending_before_it() -> None:
    plan = make_plan(files("20240101_a", "20240101_b", NEW), rows("20240101_b"), to="20240101_b")
    assert steps(plan) == ["20240101_a"]


@pytest.mark.parametrize("wrong", ["nope", OLD.upper(), OLD[:-1]])
def test_a_version_that_does_not_exist_is_a_problem_and_not_everything(wrong: str) -> None:
    for plan in (
        make_plan(files(OLD, NEW), [], to=wrong),
        make_plan(files(OLD, NEW), [], out_of_order=frozenset({wrong})),
    ):
        [problem] = plan.problems
        assert problem.rule == "unknown-version"
        assert repr(wrong) in problem.message


def test_problems_beyond_to_stop_everything_too() -> None:
    plan = make_plan([file(OLD), file(NEW, "select 2")], [row(NEW, "select 1")], to=OLD)
    assert "history-edited" in {problem.rule for problem in plan.problems}


# Every small world there is: each of four versions is in the files or not, in history or not, and
# its row has the file's checksum or another.
_VERSIONS = ("0001_a", "20240101_b", "20240101_c", "20240201_d")
_WORLDS = list(itertools.product(("nowhere", "file", "row", "both", "edited"), repeat=4))


def test_in_every_small_world_each_version_has_one_state_and_pending_is_the_difference() -> None:
    for world in _WORLDS:
        places = dict(zip(_VERSIONS, world, strict=True))
        in_files = [v for v, place in places.items() if place in ("file", "both", "edited")]
        in_rows = [v for v, place in places.items() if place in ("row", "both", "edited")]
        history = [row(v, f"select '{v}'" if places[v] == "edited" else "") for v in in_rows]
        plan = make_plan(files(*reversed(in_files)), history)

        assert list(states(plan)) == sorted({*in_files, *in_rows})
        assert steps(plan) == sorted({*in_files} - {*in_rows})
        unproblematic = {State.APPLIED, State.PENDING}
        assert {p.file.removesuffix(".sql") for p in plan.problems} == {
            version for version, state in states(plan).items() if state not in unproblematic
        }
        newest = max((v.partition("_")[0] for v in in_rows), default="")
        late = {v for v in steps(plan) if v.partition("_")[0] < newest}
        assert {v for v, s in states(plan).items() if s is State.OUT_OF_ORDER} == late
