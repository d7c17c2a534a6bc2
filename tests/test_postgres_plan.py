"""The plan: what would run, in which order, and everything that stands against it. No server."""

from __future__ import annotations

import itertools

import pytest

from headwater.errors import HistoryError
from headwater.files.grammar import parse
from headwater.files.text import checksum
from headwater.model import Applied, Directive, Migration, Plan, State
from headwater.postgres.plan import (
    ADVICE,
    files_of_renamed,
    make_plan,
    require_no_problems,
    rows_of_renamed,
)

OLD, MIDDLE, NEW = "20240101_old", "20240201_middle", "20240301_new"


def file(version: str, text: str = "", *, transactional: bool = True) -> Migration:
    text = text or f"create table {version.partition('_')[2]} ();\n"
    directives = () if transactional else (Directive(name="no-transaction", value="", line=1),)
    return Migration(
        version=version,
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


def test_an_edit_of_comments_is_sent_to_repair_and_a_real_one_to_a_new_migration() -> None:
    applied = row(OLD, "select 1", tokens=parse("select 1").token_checksum)
    [cosmetic] = make_plan([file(OLD, "select 1 -- why")], [applied]).problems
    assert cosmetic.hint.startswith(f"invoke history.repair {OLD} accepts it")
    [real] = make_plan([file(OLD, "select 2")], [applied]).problems
    assert real.hint.startswith("restore the file as it was applied")
    assert f"invoke history.repair {OLD}" in real.hint


@pytest.mark.parametrize(
    "checksum",
    ["sha256-2:" + "0" * 64, "blake3-1:" + "0" * 64, "sha256:" + "0" * 64, "sha256-1:", "", "x"],
)
def test_a_checksum_of_an_unknown_rule_is_no_edit(checksum: str) -> None:
    plan = make_plan([file(OLD)], [Applied(version=OLD, checksum=checksum)])
    assert states(plan) == {OLD: State.UNKNOWN_RULE}
    assert steps(plan) == []
    assert_one_problem(plan, OLD, "a rule that this Headwater does not know", "a newer Headwater")
    assert plan.problems[0].rule == "history-unknown-rule"
    assert checksum[:16] in plan.problems[0].message


def test_a_checksum_of_the_known_rule_that_differs_is_an_edit() -> None:
    plan = make_plan([file(OLD)], [Applied(version=OLD, checksum="sha256-1:" + "0" * 64)])
    assert states(plan) == {OLD: State.EDITED}


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (State.EDITED, "invoke history.repair"),
        (State.UNKNOWN_RULE, "invoke history.repair"),
        (State.RENAMED, "invoke history.repair"),
        (State.HALF_DONE, "invoke history.mark"),
        (State.OUT_OF_ORDER, "invoke migrate --out-of-order"),
        (State.MISSING, "version control"),
        (State.NEWER, "pull"),
    ],
)
def test_each_state_that_stops_has_one_line_of_advice(state: State, command: str) -> None:
    assert command in ADVICE[state]
    assert "\n" not in ADVICE[state]


def test_every_state_but_the_sound_ones_has_advice() -> None:
    assert set(ADVICE) == set(State) - {State.APPLIED, State.PENDING}


def test_the_files_and_rows_of_a_rename_find_each_other() -> None:
    copies = [file("20240102_one", "select 1"), file("20240103_two", "select 1")]
    plan = make_plan([*copies, file(MIDDLE)], [row(OLD, "select 1"), row(NEW)])
    assert [f.version for f in files_of_renamed(plan, row(OLD, "select 1"))] == [
        "20240102_one",
        "20240103_two",
    ]
    assert files_of_renamed(plan, row(NEW)) == ()
    assert [r.version for r in rows_of_renamed(plan, copies[0])] == [OLD]
    assert rows_of_renamed(plan, file(MIDDLE)) == ()


def test_a_copy_of_a_file_that_is_still_there_is_no_rename_of_it() -> None:
    plan = make_plan([file(OLD, "select 1"), file(NEW, "select 1")], [row(OLD, "select 1")])
    assert rows_of_renamed(plan, file(NEW, "select 1")) == ()


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
