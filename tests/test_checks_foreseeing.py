"""What a dry run foresees: each statement measured beside the target, and weighed by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.checks import tracing
from headwater.checks.foreseeing import foresee
from headwater.checks.rules import EXAMPLE_SCHEMA
from headwater.files.read import read_folder
from headwater.model import Target
from headwater.outcomes import LockMode
from headwater.postgres.run import migrate
from headwater.report.judged import FORMS
from headwater.settings import Settings
from headwater.verdicts import Foreseen
from tests.support import query, recorded, write_files

FIRST, SECOND, THIRD = "20240101_example", "20240201_type", "20240301_more"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_files(
        tmp_path / "migrations",
        {
            f"{FIRST}.sql": EXAMPLE_SCHEMA,
            f"{SECOND}.sql": "alter table app.t alter column a type bigint;\n",
            f"{THIRD}.sql": "alter table app.t add column c int;\n",
        },
    )
    return Settings(root=tmp_path, migrations=tmp_path / "migrations", schemas=("app",))


def foreseen(target: Target, settings: Settings, *, to: str = "") -> Foreseen:
    folder = read_folder(settings.migrations)
    dry_run = migrate(target, folder, settings, to=to, dry_run=True)
    return foresee(target, folder, settings, dry_run)


def test_a_dry_run_says_what_each_statement_does_and_how_much_that_is(
    target: Target, settings: Settings
) -> None:
    migrate(target, read_folder(settings.migrations), settings, to=FIRST)
    query(target, "analyze app.t")
    seen = foreseen(target, settings)
    assert [traced.version for traced in seen.traces] == [SECOND, THIRD]
    [effect] = seen.traces[0].statements[0].effects
    assert (effect.relation, effect.lock, effect.rewrite) == (
        "app.t",
        LockMode.ACCESS_EXCLUSIVE,
        "column type",
    )
    assert seen.weights
    assert seen.weights.tables["app.t"].rows == 10
    assert recorded(target, settings) == [FIRST]
    shown = "\n".join(line.text for line in FORMS[Foreseen][0](seen))
    assert "app.t: ACCESS EXCLUSIVE, blocks reads and writes" in shown
    assert "10 rows" in shown
    assert shown.index("alter table app.t alter column a") < shown.index("measured on a scratch")


def test_only_what_would_be_applied_is_foreseen(target: Target, settings: Settings) -> None:
    migrate(target, read_folder(settings.migrations), settings, to=FIRST)
    assert [traced.version for traced in foreseen(target, settings, to=SECOND).traces] == [SECOND]


def test_with_nothing_to_do_nothing_is_run(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(target, read_folder(settings.migrations), settings)
    monkeypatch.setattr(tracing, "scratch_server", lambda *_: pytest.fail("it looked for a place"))
    seen = foreseen(target, settings)
    assert (seen.traces, seen.notes) == ((), ())


def test_where_nothing_can_be_run_a_note_says_so(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "scratch_server", lambda *_: "there is no place")
    seen = foreseen(target, settings)
    assert seen.notes == ("nothing was run: there is no place",)
    assert len(seen.migrated.previews) == 3


def test_a_file_that_would_fail_is_told(target: Target, settings: Settings) -> None:
    (settings.migrations / f"{THIRD}.sql").write_text("alter table app.nowhere add column c int;\n")
    [note] = foreseen(target, settings).notes
    assert note == f'{THIRD}.sql:1: relation "app.nowhere" does not exist'
