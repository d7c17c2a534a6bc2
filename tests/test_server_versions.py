"""PostgreSQL 15 to 18: a schema with every kind of object is built, proved, reset and guarded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.checks.blaming import blame
from headwater.checks.proof import verify
from headwater.errors import HalfDone, MigrationFailed
from headwater.files.read import read_folder
from headwater.model import MigrationFolder, Schema, State, Target
from headwater.postgres.connect import connect, pin
from headwater.postgres.lock import migration_lock
from headwater.postgres.reset import reset
from headwater.postgres.run import migrate, status
from headwater.postgres.undo import rollback
from headwater.schema.diff import compare
from headwater.schema.snapshot import Snapshot, read_snapshot
from headwater.settings import Settings
from headwater.verdicts import Change, Outcome
from tests.conftest import disposable_on
from tests.servers import VERSIONS
from tests.support import (
    LEAKS,
    folder_with,
    leaked,
    leaking_files,
    migrated,
    query,
    recorded,
    session,
    tables,
    value,
    write_files,
)

PORTABLE = Path(__file__).parent / "schema_portable"
NEEDS_SEVERAL = ("0011_without_transaction", "0012_waiting")

INIT = {"0001_init.sql": "create schema app;\ncreate table app.t (i int);\n"}


def portable(settings: Settings, *, atomic: bool = False) -> MigrationFolder:
    """Copy the portable schema: all of it, or what one transaction can hold."""
    shutil.copytree(PORTABLE / "migrations", settings.migrations, dirs_exist_ok=True)
    shutil.copytree(PORTABLE / "superuser", settings.migrations, dirs_exist_ok=True)
    if atomic:
        for version in NEEDS_SEVERAL:
            (settings.migrations / f"{version}.sql").unlink()
    folder = read_folder(settings.migrations)
    assert folder.findings == ()
    return folder


def names(folder: MigrationFolder) -> list[str]:
    return [migration.version for migration in folder.migrations]


def require_clean(target: Target, folder: MigrationFolder, settings: Settings) -> None:
    """Require that verify finds nothing, in any of its lines, and that all of them were looked at.

    Post-conditions and lint of what is pending have nothing to look at; that is clean as well.
    """
    lines = verify(target, folder, settings).lines
    wrong = [
        (line.name, line.summary, line.findings, line.changes)
        for line in lines
        if line.outcome is not Outcome.OK
    ]
    assert wrong == []
    assert len(lines) == 8


def snapshot(target: Target, settings: Settings) -> Snapshot:
    with connect(target, purpose="test") as connection:
        return read_snapshot(connection, history_table=settings.history)


def drift(before: Snapshot, after: Snapshot) -> tuple[Change, ...]:
    return compare(before, after, schemas=("app",))


# --- the whole way ----------------------------------------------------------------------------


def test_the_portable_schema_is_built_proved_and_reset_on_every_version(
    server_of_version: Callable[[int], Target], settings: Settings
) -> None:
    folder, done, missing = portable(settings), 0, None
    for major in VERSIONS:
        try:
            target = server_of_version(major)
        except pytest.skip.Exception as lacking:
            missing = lacking
            continue
        with disposable_on(target) as versioned:
            assert value(versioned, "show server_version_num")[:2] == str(major)
            build_prove_and_reset(versioned, folder, settings)
        done += 1
    print(f"\nversions: {done} of {len(VERSIONS)}")
    if missing is not None:
        raise missing
    assert done == len(VERSIONS)


def build_prove_and_reset(target: Target, folder: MigrationFolder, settings: Settings) -> None:
    done = migrate(target, folder, settings)
    assert [result.version for result in done.results] == names(folder)
    assert recorded(target, settings) == names(folder)
    assert {entry.state for entry in status(target, folder, settings).entries} == {State.APPLIED}
    require_clean(target, folder, settings)
    assert status(target, folder, settings).schema is Schema.AS_MIGRATED
    before = snapshot(target, settings)
    assert not reset(target, folder, settings).atomic
    assert recorded(target, settings) == names(folder)
    assert drift(before, snapshot(target, settings)) == ()
    require_clean(target, folder, settings)


def test_what_one_transaction_can_hold_is_reset_in_one(
    versioned: Target, settings: Settings
) -> None:
    folder = portable(settings, atomic=True)
    migrate(versioned, folder, settings)
    assert reset(versioned, folder, settings).atomic
    require_clean(versioned, folder, settings)
    (settings.migrations / "0099_fails.sql").write_text("select 1 / 0")
    before = snapshot(versioned, settings)
    with pytest.raises(MigrationFailed, match=r"0099_fails\.sql:1"):
        reset(versioned, read_folder(settings.migrations), settings)
    assert drift(before, snapshot(versioned, settings)) == ()
    assert recorded(versioned, settings) == names(folder)


DRIFT = {
    "column": "alter table app.people add column more int",
    "default": "alter table app.tasks alter column title set default 'x'",
    "function": "alter function app.joined(text[]) cost 77",
    "policy": "alter policy tasks_open on app.tasks using (true)",
    "grant": "grant delete on app.cache to pg_monitor",
    "partition": "create table app.regions_east partition of app.regions for values in ('e')",
    "publication": "alter publication portable_people set (publish = 'insert')",
    "generated": "alter table app.people alter column first_letter drop expression",
    "comment": "comment on schema app is null",
    "trigger": "alter table app.people disable trigger people_touch",
    "statistics": "alter statistics app.people_names set statistics 12",
    "search": "alter text search configuration app.words drop mapping for asciiword",
    "server": "alter server portable_server options (set host 'elsewhere')",
    "index": "drop index app.tasks_number",
}


def test_what_somebody_changes_by_hand_is_found(versioned: Target, settings: Settings) -> None:
    migrate(versioned, portable(settings), settings)
    before = snapshot(versioned, settings)
    missed = []
    with connect(versioned, purpose="test") as connection:
        for name, change in DRIFT.items():
            with connection.transaction(force_rollback=True):
                connection.execute(change.encode())
                if not drift(before, read_snapshot(connection, history_table=settings.history)):
                    missed.append(name)
    assert missed == []


# --- guards -----------------------------------------------------------------------------------


def test_a_failing_file_is_rolled_back_and_not_recorded(
    versioned: Target, settings: Settings
) -> None:
    text = "create table app.b ();\ninsert into app.t\n  select 1 / (i - i) from app.t, nowhere;"
    files = INIT | {"0002_fails.sql": text}
    with pytest.raises(MigrationFailed, match=r"^0002_fails\.sql:3:34: .*nowhere") as caught:
        migrate(versioned, folder_with(settings, files), settings)
    assert caught.value.exit_code == 3
    assert recorded(versioned, settings) == ["0001_init"]
    assert tables(versioned) == ["t"]
    mended = files | {"0002_fails.sql": text.replace(", nowhere", "")}
    migrate(versioned, folder_with(settings, mended), settings)
    assert recorded(versioned, settings) == ["0001_init", "0002_fails"]


PLACES = {
    "a function that is missing": ("select 1;\n\nselect app.nope();", 3, 8),
    "a column, behind two-byte letters": ("select 'äöü',\n  'ß', nope from app.t;", 2, 8),
    "a line of a DO block": ("do $$\nbegin\n  perform 1 / 0;\nend $$;", 3, 3),
    "a statement without a position": ("select 1;\n  select 1 / 0;", 2, 3),
    "a type in a table": ("create table app.x (\n  a int,\n  b nope\n);", 3, 5),
    "the body of a function": (
        "create function app.f() returns int language sql as $$\n  select nope\n$$;",
        2,
        10,
    ),
}


def test_errors_are_shown_where_they_are(versioned: Target, settings: Settings) -> None:
    wrong = []
    for name, (text, line, column) in PLACES.items():
        folder = folder_with(settings, INIT | {"0002_fails.sql": text})
        with pytest.raises(MigrationFailed) as caught:
            migrate(versioned, folder, settings)
        if not caught.value.message.startswith(f"0002_fails.sql:{line}:{column}: "):
            wrong.append((name, caught.value.message))
    print(f"places: {len(PLACES) - len(wrong)} of {len(PLACES)}", end=" ")
    assert wrong == []


def test_a_file_without_transaction_stops_at_a_statement_and_goes_on_there(
    versioned: Target, settings: Settings
) -> None:
    text = (
        "-- headwater: no-transaction\n"
        "create index concurrently t_i on app.t (i);\n"
        "create unique index concurrently t_u on app.t (i);\n"
        "vacuum app.t;\n"
    )
    files = INIT | {"0002_rows.sql": "insert into app.t values (1), (1);", "0003_index.sql": text}
    with pytest.raises(HalfDone, match=r"^0003_index\.sql:3") as caught:
        migrate(versioned, folder_with(settings, files), settings)
    assert caught.value.exit_code == 4
    assert "statements done: 1 of 3; failed: 2; not tried: 1" in caught.value.detail
    assert recorded(versioned, settings) == ["0001_init", "0002_rows"]
    oid = value(versioned, "select 'app.t_i'::regclass::oid")

    query(versioned, "delete from app.t; drop index if exists app.t_u")
    migrate(versioned, folder_with(settings, files), settings)
    assert recorded(versioned, settings) == ["0001_init", "0002_rows", "0003_index"]
    assert value(
        versioned,
        "select bool_and(indisvalid) and count(*) = 2 from pg_index i "
        "where indrelid = 'app.t'::regclass",
    )
    assert value(versioned, "select 'app.t_i'::regclass::oid") == oid, "the first one ran again"


def test_two_runners_at_once_run_every_file_once(versioned: Target, settings: Settings) -> None:
    folder = portable(settings)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: migrate(versioned, folder, settings), range(2)))
    assert sorted(len(each.results) for each in done) == [0, len(folder.migrations)]
    assert recorded(versioned, settings) == names(folder)


def test_a_lock_that_is_not_to_be_had_names_its_holder(
    versioned: Target, settings: Settings
) -> None:
    said: list[object] = []
    migrate(versioned, folder_with(settings, INIT), settings)
    hasty = replace(settings, lock_timeout_ms=100)
    folder = folder_with(settings, INIT | {"0002_b.sql": "alter table app.t add column b int;"})
    with session(versioned) as other, ThreadPoolExecutor(1) as pool:
        other.execute("select 1 from app.t")
        run = pool.submit(migrate, versioned, folder, hasty, notify=said.append)
        while not any("somebody else" in str(event) for event in said):
            assert not run.done()
        other.rollback()
        run.result(timeout=20)
    assert recorded(versioned, settings) == ["0001_init", "0002_b"]


def test_the_pins_hold_on_each_version(versioned: Target, settings: Settings) -> None:
    name = versioned.database
    query(versioned, f"alter database {name} set timezone = 'Asia/Tokyo'")
    query(versioned, f"alter database {name} set statement_timeout = '200ms'")
    query(versioned, f"alter database {name} set row_security = on")
    with connect(versioned, purpose="test") as connection:
        pin(connection, lock_timeout_ms=500)
        shown = dict(
            connection.execute(
                "select lower(name), setting from pg_settings where source = 'session'"
            ).fetchall()
        )
        new = {"transaction_timeout": "0"} if connection.info.server_version >= 170000 else {}
    assert (
        shown.items()
        >= (
            {
                "timezone": "UTC",
                "statement_timeout": "0",
                "row_security": "off",
                "lock_timeout": "500",
                "client_connection_check_interval": "2000",
            }
            | new
        ).items()
    )
    with migration_lock(versioned, settings) as held:
        assert held.execute("show search_path").fetchone() == ('""',)


def test_nothing_of_a_session_reaches_the_next_file(versioned: Target, settings: Settings) -> None:
    write_files(settings.migrations, leaking_files())
    migrate(versioned, read_folder(settings.migrations), settings)
    seen = leaked(versioned)
    print(f"kinds of session state that leak: {len(seen)} of {len(LEAKS)}", end=" ")
    assert seen == []


def test_undoing_its_proof_blame_and_the_fingerprint_work_on_every_version(
    versioned: Target, settings: Settings
) -> None:
    own = f"-- {versioned.database}\n"
    files = {
        "0001_a.sql": f"{own}create schema app; create table app.t (i int primary key);",
        "0002_b.sql": "alter table app.t add column j int; create index t_j on app.t (j);",
        "0002_b.down.sql": "alter table app.t drop column j;",
        "0003_c.sql": "-- headwater: no-transaction\ncreate index concurrently t_i on app.t (i);",
        "0003_c.down.sql": "-- headwater: no-transaction\ndrop index concurrently app.t_i;",
    }
    migrated(versioned, settings, files)
    folder = read_folder(settings.migrations)
    for _ in range(2):  # built, then cloned
        require_clean(versioned, folder, settings)
    assert status(versioned, folder, settings).schema is Schema.AS_MIGRATED
    moments = blame(versioned, folder, settings, "app.t.j").moments
    assert [(moment.version, moment.happened) for moment in moments] == [("0002_b", "created")]
    query(versioned, "alter table app.t alter j set default 7")
    assert status(versioned, folder, settings).schema is Schema.TOUCHED
    draft = verify(versioned, folder, settings, drafts=True).draft
    assert draft
    assert draft.statements == ("ALTER TABLE app.t ALTER COLUMN j SET DEFAULT 7;",)
    query(versioned, "alter table app.t alter j drop default")
    undone = rollback(versioned, folder, settings, to="0001_a").results
    assert [result.version for result in undone] == ["0003_c", "0002_b"]
    assert status(versioned, folder, settings).schema is Schema.AS_MIGRATED
    require_clean(versioned, folder, settings)
