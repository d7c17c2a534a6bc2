"""Blame and bisect: which migration made an object, and which one broke what held."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.checks import building
from headwater.checks.blaming import bisect, blame
from headwater.errors import FilesError, MigrationFailed
from headwater.files.read import read_folder
from headwater.model import Target
from headwater.settings import Settings
from headwater.verdicts import Blamed, Happened
from tests.projects import make_project
from tests.support import folder_with, query, write_files

A, B, C, D = "20240101_a", "20240102_b", "20240103_c", "20240104_d"


@pytest.fixture
def files(target: Target) -> dict[str, str]:
    """Files that nobody has replayed before."""
    return {
        f"{A}.sql": f"-- {target.database}\ncreate schema app;"
        "create table app.t (i int primary key, name text);"
        "create function app.f() returns int language sql as $$\nselect 1\n$$;",
        f"{B}.sql": "alter table app.t add column state text default 'new';"
        "create policy p on app.t using (true); create index t_name on app.t (name);",
        f"{C}.sql": "alter table app.t alter state set default 'old';"
        "create or replace function app.f() returns int language sql as $$\nselect 2\n$$;"
        "alter policy p on app.t using (i > 0);",
        f"{D}.sql": 'alter table app.t drop column name; create table app.u (i int, "a on b" int);'
        "create function app.g(int[], text) returns int language sql as 'select 1';",
    }


def blamed(target: Target, settings: Settings, name: str) -> Blamed:
    return blame(target, read_folder(settings.migrations), settings, name)


def told(found: Blamed) -> list[tuple[str, str, str]]:
    return [(m.version[-1], m.happened.value, m.object) for m in found.moments]


# --- blame ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "app.t.state",
            [("b", "created", "column app.t.state"), ("c", "changed", "column app.t.state")],
        ),
        (
            "column app.t.name",
            [("a", "created", "column app.t.name"), ("d", "dropped", "column app.t.name")],
        ),
        (
            "app.f",
            [("a", "created", "function app.f()"), ("c", "changed", "function app.f()")],
        ),
        (
            "policy p on app.t",
            [("b", "created", "policy p on app.t"), ("c", "changed", "policy p on app.t")],
        ),
        ("p", [("b", "created", "policy p on app.t"), ("c", "changed", "policy p on app.t")]),
        (
            "app.t_n*",
            [("b", "created", "index app.t_name"), ("d", "dropped", "index app.t_name")],
        ),
        ("schema app", [("a", "created", "schema app")]),
        ("function app.g(integer[],text)", [("d", "created", "function app.g(integer[],text)")]),
        ('column app.u."a on b"', [("d", "created", 'column app.u."a on b"')]),
    ],
)
def test_an_object_is_told_from_its_making_to_its_end(
    target: Target,
    settings: Settings,
    files: dict[str, str],
    name: str,
    expected: list[tuple[str, str, str]],
) -> None:
    folder_with(settings, files)
    assert told(blamed(target, settings, name)) == expected


def test_a_table_is_told_with_its_parts(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    folder_with(settings, files)
    found = told(blamed(target, settings, "app.t"))
    assert ("a", "created", "table app.t") in found
    assert ("b", "created", "column app.t.state") in found
    assert ("c", "changed", "policy p on app.t") in found
    assert ("d", "dropped", "column app.t.name") in found
    # What came with the table is not told by itself.
    assert ("a", "created", "column app.t.i") not in found
    assert not any("app.u" in each[2] or "app.f" in each[2] for each in found)


def test_a_part_says_what_it_was_made_with_and_a_change_what_it_was(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    folder_with(settings, files)
    [made, gone] = blamed(target, settings, "app.t.name").moments
    assert (made.within, gone.happened) == ("table app.t", Happened.DROPPED)
    _, changed = blamed(target, settings, "app.t.state").moments
    assert (changed.attribute, changed.before, changed.after) == (
        "default",
        "'new'::text",
        "'old'::text",
    )


def test_a_name_that_never_was_is_told_with_what_looks_like_it(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    folder_with(settings, files)
    found = blamed(target, settings, "app.t.stat")
    assert (found.moments, found.exit_code) == ((), 1)
    assert "app.t.state" in found.close


def test_only_new_files_are_replayed(
    target: Target, settings: Settings, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = list[str]()
    apply = building.apply_in_order

    def noting(*arguments: object, there: int = 0) -> None:
        versions = arguments[3]
        assert isinstance(versions, (list, tuple))
        ran.extend(versions[there:])
        apply(*arguments, there=there)  # type: ignore[arg-type]

    monkeypatch.setattr(building, "apply_in_order", noting)
    folder_with(settings, {name: files[name] for name in files if D not in name})
    blamed(target, settings, "app.t")
    assert ran == [A, B, C]
    ran.clear()
    first = blamed(target, settings, "app.f")
    assert ran == []
    write_files(settings.migrations, {f"{D}.sql": files[f"{D}.sql"]})
    assert told(blamed(target, settings, "app.t.name"))[-1][1] == "dropped"
    assert ran == [D]
    write_files(settings.migrations, {f"{B}.sql": files[f"{B}.sql"] + "-- another"})
    ran.clear()
    # (Of what stands before the edited file alone there is no template.)
    assert blamed(target, settings, "app.f") == first
    assert ran == [A, B, C, D]


def test_a_folder_with_a_file_that_cannot_run_is_refused(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    folder_with(settings, files | {f"{C}.sql": "create tabel app.x ();"})
    with pytest.raises(FilesError):
        blamed(target, settings, "app.t")
    folder_with(settings, files | {f"{C}.sql": "select 1 / 0;"})
    with pytest.raises(MigrationFailed, match="division by zero"):
        blamed(target, settings, "app.t")


def test_the_target_is_only_read(target: Target, settings: Settings, files: dict[str, str]) -> None:
    folder = folder_with(settings, files)
    blamed(target, settings, "app.t")
    bisect(target, folder, settings, "select true")
    assert query(target, "select nspname from pg_namespace where nspname = 'app'") == []


NAMED = "select from pg_attribute where attrelid = to_regclass('app.t') and attname = 'name'"


# --- bisect -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"select count(*) = 1 from ({NAMED}) c", (D, 1)),
        ("select app.f() = 1", (C, 1)),
        ("select to_regclass('app.t') is not null", (None, 0)),
        ("select to_regclass('app.nothing') is not null", (None, 1)),
        ("select 1 / 0 = 1", (None, 1)),
        ("select to_regclass('app.t_name') is null", (B, 1)),
        ("select null::boolean", (None, 1)),
        ("select 1", (None, 1)),
        ("select true union all select true", (None, 1)),
    ],
)  # fmt: skip
def test_the_first_migration_after_which_it_is_no_longer_true(
    target: Target,
    settings: Settings,
    files: dict[str, str],
    text: str,
    expected: tuple[str | None, int],
) -> None:
    found = bisect(target, folder_with(settings, files), settings, text)
    assert (found.culprit.version if found.culprit else None, found.exit_code) == expected


def test_what_becomes_true_again_is_told_at_its_first_end(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    more = {"20240105_e.sql": "create or replace function app.f() returns int language sql as "
            "$$ select 1 $$;"}  # fmt: skip
    found = bisect(target, folder_with(settings, files | more), settings, "select app.f() = 1")
    assert found.culprit is not None
    assert found.culprit.version == C
    words = [asked.answer.words for asked in found.asked]
    assert words == ['schema "app" does not exist', "true", "true", "false"]


@pytest.mark.parametrize("text", ["", "selec 1", "drop table app.t", "select 1; select 2"])
def test_what_is_no_question_is_refused_before_anything_is_built(
    target: Target, settings: Settings, files: dict[str, str], text: str
) -> None:
    folder = folder_with(settings, files | {f"{D}.sql": "select 1 / 0;"})
    with pytest.raises(FilesError, match="no question"):
        bisect(target, folder, settings, text)


def test_a_query_that_writes_changes_nothing(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    text = "with x as (insert into app.t values (1) returning 1) select count(*) = 1 from x"
    found = bisect(target, folder_with(settings, files), settings, text)
    assert {asked.answer.value for asked in found.asked} == {None}


# --- told -------------------------------------------------------------------------------------


def test_the_tasks_tell_it(target: Target, tmp_path: Path, files: dict[str, str]) -> None:
    project = make_project(tmp_path / "p", files, target)
    project.invoke("blame app.t.state").said(
        "column app.t.state\n", f"  created  {B}\n", "default 'new'::text -> 'old'::text"
    )
    project.invoke("blame app.f").said("source differs", "-select 1", "+select 2")
    project.invoke("blame app.stat", code=1).said("no migration makes anything of the name")
    project.invoke("bisect 'select app.f() = 1'", code=1).said(
        f"  after {A}: true", f"{C} is the first after which it is no longer true"
    )
    form = project.invoke("bisect 'select app.f() = 1' --json", code=1).json
    assert (form["version"], form["ok"]) == (C, False)
