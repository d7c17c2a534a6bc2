"""Scratch databases: built once, then cloned; never taken for what they are not."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from headwater.checks import building, kept
from headwater.checks.building import Workshop, workshop
from headwater.checks.proof import verify
from headwater.checks.rebuilding import apply_files
from headwater.checks.scratch import ScratchServer
from headwater.errors import MigrationFailed
from headwater.files.read import read_folder
from headwater.model import MigrationFolder, Target
from headwater.postgres import templates
from headwater.postgres.connect import connect
from headwater.postgres.databases import SCRATCH_PREFIX, locale_of
from headwater.postgres.installation import state_folder
from headwater.postgres.makers import Maker, this_process
from headwater.postgres.templates import PREFIX, longest, name_of_template, sweep
from headwater.settings import Settings
from headwater.verdicts import Outcome
from tests.support import folder_with, migrated, query, value, write_files
from tests.tenants import Tenant, tenant_on


@pytest.fixture
def unique(target: Target) -> str:
    """A comment that no other test has: what is built from it, nobody built before."""
    return f"-- {target.database}\n"


@pytest.fixture
def files(unique: str) -> dict[str, str]:
    return {
        "0001_a.sql": f"{unique}create schema app; create table app.a (i int);",
        "0002_b.sql": "create table app.b (i int); insert into app.b values (1);",
        "0003_c.sql": "create table app.c (i int);",
    }


VERSIONS = ["0001_a", "0002_b", "0003_c"]


@contextmanager
def shop_for(target: Target, folder: MigrationFolder, settings: Settings) -> Generator[Workshop]:
    place = ScratchServer(target=target, ours=True)
    with connect(target, purpose="test") as connection:
        locale = locale_of(connection)
    with workshop(place, folder, settings, locale) as shop:
        yield shop


def keys_in(shop: Workshop) -> tuple[str, ...]:
    """Give the keys of all files of a workshop."""
    return shop._keys([migration.version for migration in shop.folder.migrations])


def keys_for(target: Target, folder: MigrationFolder, settings: Settings) -> tuple[str, ...]:
    with shop_for(target, folder, settings) as shop:
        return keys_in(shop)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take note of every version that a rebuild runs."""
    ran = list[str]()
    apply = apply_files

    def noting(
        folder: MigrationFolder, settings: Settings, scratch: Target, versions: list[str]
    ) -> None:
        with connect(scratch, purpose="test") as connection:
            there = connection.execute("select to_regclass('schema_migrations') is not null")
            rows = there.fetchone() == (True,) and connection.execute(
                "select version from schema_migrations"
            )
            known = {row[0] for row in rows} if rows else set()
        ran.extend(version for version in versions if version not in known)
        apply(folder, settings, scratch, versions)

    monkeypatch.setattr(building, "apply_files", noting)
    return ran


def built(shop: Workshop, versions: list[str]) -> list[str]:
    """Build, and give the tables that are there."""
    with shop.build(versions) as scratch:
        rows = query(scratch.target, "select tablename from pg_tables where schemaname = 'app'")
    return sorted(row[0] for row in rows)


# --- cloning ----------------------------------------------------------------------------------


def test_what_was_built_once_is_not_run_again(
    target: Target, settings: Settings, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = counted(monkeypatch)
    with shop_for(target, folder_with(settings, files), settings) as shop:
        assert built(shop, VERSIONS) == ["a", "b", "c"]
        assert ran == VERSIONS
        ran.clear()
        assert built(shop, VERSIONS) == ["a", "b", "c"]
    assert ran == []


def test_only_what_follows_an_unchanged_prefix_is_run(
    target: Target, settings: Settings, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = counted(monkeypatch)
    with shop_for(target, folder_with(settings, files), settings) as shop:
        built(shop, VERSIONS[:2])
        assert built(shop, VERSIONS) == ["a", "b", "c"]
    assert ran == VERSIONS
    edited = files | {"0003_c.sql": "create table app.other (i int);"}
    ran.clear()
    with shop_for(target, folder_with(settings, edited), settings) as shop:
        assert built(shop, VERSIONS) == ["a", "b", "other"]
    assert ran == ["0003_c"]


@pytest.mark.parametrize(
    "change",
    [
        {"0001_a.sql": "create schema app; create table app.a (i int, j int);"},
        {"0001_a.verify.sql": 'select true as "it holds";'},
        {"0001_a.down.sql": "drop schema app cascade;"},
    ],
    ids=["file", "post-condition", "down file"],
)
def test_an_edit_of_the_first_file_makes_every_key_another(
    target: Target, settings: Settings, files: dict[str, str], change: dict[str, str]
) -> None:
    def keys(of: dict[str, str]) -> tuple[str, ...]:
        return keys_for(target, folder_with(settings, of), settings)

    before, after = keys(files), keys(files | change)
    assert len(set(before)) == 3
    assert not set(before) & set(after)
    assert keys(files) == before


def test_the_order_of_files_is_a_part_of_the_key(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    folder = folder_with(settings, files)
    a, b, c = folder.migrations
    one = keys_for(target, replace(folder, migrations=(a, b, c)), settings)
    two = keys_for(target, replace(folder, migrations=(a, c, b)), settings)
    assert one[0] == two[0]
    assert not set(one[1:]) & set(two[1:])


@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("alter role {role} set search_path = app", "alter role {role} reset search_path"),
        ("create role {role}_named", "drop role {role}_named"),
        ("grant {role}_named_too to {role}", "revoke {role}_named_too from {role}"),
    ],
    ids=["setting of the role", "role that a file names", "member of such a role"],
)
def test_what_files_are_built_under_is_a_part_of_the_key(
    target: Target, settings: Settings, files: dict[str, str], change: str, back: str
) -> None:
    role = f"{target.database}_r"
    query(target, f"create role {role} superuser login password 'x'; create role {role}_named_too")
    theirs = replace(
        target,
        user=role,
        conninfo=make_conninfo(target.conninfo, user=role, password="x"),
    )
    named = files | {"0002_b.sql": f"grant usage on schema app to {role}_named, {role}_named_too;"}
    folder = folder_with(settings, named)

    def keys() -> tuple[str, ...]:
        return keys_for(theirs, folder, settings)

    try:
        before = keys()
        query(target, change.format(role=role))
        try:
            assert not set(before[1:]) & set(keys()[1:])
        finally:
            query(target, back.format(role=role))
        assert keys() == before
    finally:
        query(target, f"drop role {role}; drop role {role}_named_too")


# --- what is a template -----------------------------------------------------------------------


def template_of(
    target: Target, settings: Settings, folder: MigrationFolder, versions: int = 3
) -> str:
    return name_of_template(keys_for(target, folder, settings)[versions - 1])


def test_nobody_can_enter_a_template(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    folder = folder_with(settings, files)
    with shop_for(target, folder, settings) as shop:
        built(shop, VERSIONS)
    name = template_of(target, settings, folder)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        query(make_conninfo(target.conninfo, dbname=name), "select 1")


def test_a_build_that_fails_leaves_no_template(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    folder = folder_with(settings, files | {"0003_c.sql": "select 1 / 0;"})
    with shop_for(target, folder, settings) as shop:
        with pytest.raises(MigrationFailed):
            built(shop, VERSIONS)
        keys = keys_in(shop)
        assert longest(shop.connection, keys, "p") == 0


def test_an_error_behind_the_build_leaves_no_template_either(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    folder = folder_with(settings, files)
    with shop_for(target, folder, settings) as shop:
        with suppress(ZeroDivisionError), shop.build(VERSIONS) as scratch:
            query(scratch.target, "create table app.spoilt ()")
            raise ZeroDivisionError
        keys = keys_in(shop)
        assert longest(shop.connection, keys, "p") == 0


@pytest.mark.parametrize(
    "allows",
    ["allow_connections true", "allow_connections false; alter database {} owner to {}"],
    ids=["open", "somebody else's"],
)
def test_a_database_that_only_has_the_name_is_no_template(
    target: Target, settings: Settings, files: dict[str, str], allows: str
) -> None:
    folder = folder_with(settings, files)
    name, role = template_of(target, settings, folder), f"{target.database}_o"
    query(target, f"create role {role}")
    query(target, f"create database {name}")
    try:
        for statement in f"alter database {name} {allows.format(name, role)}".split("; "):
            query(target, statement)
        with shop_for(target, folder, settings) as shop:
            assert built(shop, VERSIONS) == ["a", "b", "c"]
    finally:
        query(target, f"drop database {name}")
        query(target, f"drop role {role}")


@pytest.mark.parametrize(
    "text",
    [
        "execute format('alter database %I set work_mem = ''1MB''', current_database());",
        "execute format('comment on database %I is ''ours''', current_database());",
        "execute format('revoke connect on database %I from public', current_database());",
    ],
    ids=["setting", "comment", "grant"],
)
def test_what_a_clone_would_lose_is_never_cloned(
    target: Target, settings: Settings, files: dict[str, str], text: str
) -> None:
    folder = folder_with(
        settings, files | {"0003_c.sql": f"do $$ begin {text} end $$; create table app.c ();"}
    )
    with shop_for(target, folder, settings) as shop:
        built(shop, VERSIONS)
        keys = keys_in(shop)
        assert longest(shop.connection, keys, "p") == 0


def test_a_template_that_vanishes_is_built_again(
    target: Target, settings: Settings, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with(settings, files)
    with shop_for(target, folder, settings) as shop:
        monkeypatch.setattr(building, "longest", lambda connection, keys, project: len(keys))
        assert built(shop, VERSIONS) == ["a", "b", "c"]


def test_two_that_build_the_same_at_once_both_end_well(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    folder = folder_with(settings, files)
    with (
        shop_for(target, folder, settings) as one,
        shop_for(target, folder, settings) as two,
        one.build(VERSIONS),
    ):
        assert built(two, VERSIONS) == ["a", "b", "c"]
        keys = keys_in(one)
        assert longest(one.connection, keys, "p") == 3


def kept_snapshot(key: str) -> Path:
    return state_folder() / "kept" / "snapshots" / f"{kept.key_of(key)}.json"


def test_the_snapshot_of_a_template_is_read_once(
    target: Target, settings: Settings, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with(settings, files)
    with shop_for(target, folder, settings) as shop:
        with shop.build(VERSIONS) as new:
            first = new.snapshot()
        monkeypatch.delattr(building, "snapshot_at")
        with shop.build(VERSIONS) as known:
            assert known.snapshot() == first
            assert known.database is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 18, "unreadable": [], "facts": 3}'])
def test_a_kept_snapshot_that_cannot_be_understood_is_read_again(
    target: Target, settings: Settings, files: dict[str, str], text: str
) -> None:
    folder = folder_with(settings, files)
    with shop_for(target, folder, settings) as shop:
        with shop.build(VERSIONS) as new:
            first = new.snapshot()
        file = kept_snapshot(new.key)
        assert file.exists()
        file.write_text(text)
        with shop.build(VERSIONS) as known:
            assert known.snapshot() == first


def test_what_was_kept_counts_for_nothing_without_its_template(
    target: Target, settings: Settings, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with(settings, files)
    ran = counted(monkeypatch)
    with shop_for(target, folder, settings) as shop:
        for _ in range(2):
            with shop.build(VERSIONS) as scratch:
                scratch.snapshot()
            query(target, f"drop database {name_of_template(scratch.key)}")
    assert ran == VERSIONS * 2


def test_checks_that_held_of_a_template_are_not_asked_again_and_others_are(
    target: Target, settings: Settings, unique: str
) -> None:
    files = {"0001_a.sql": f"{unique}create schema app; create table app.a (i int);"}
    holds = {"checks/a.sql": "select to_regclass('app.a') is not null as \"it is there\";"}
    fails = {"checks/b.sql": "select to_regclass('app.b') is not null as \"b is there\";"}
    migrated(target, settings, files)

    def line(checks: dict[str, str]) -> tuple[Outcome, str]:
        for old in settings.migrations.glob("checks/*"):
            old.unlink()
        write_files(settings.migrations, checks)
        report = verify(target, read_folder(settings.migrations), settings)
        [found] = [each for each in report.lines if each.name == "checks"]
        return found.outcome, found.summary

    right = (Outcome.OK, "1 hold of the rebuilt schema and the target")
    wrong = (Outcome.FOUND, "2 of 4 broken")
    assert [line(holds), line(holds), line(holds | fails), line(holds | fails), line(holds)] == [
        right,
        right,
        wrong,
        wrong,
        right,
    ]


def test_checks_are_asked_again_when_roles_have_changed(
    target: Target, settings: Settings, unique: str
) -> None:
    role = f"{target.database}_r"
    query(target, f"create role {role}")
    files = {
        "0001_a.sql": f"{unique}create schema app; create table app.a (i int);",
        "checks/a.sql": f"select not has_schema_privilege('{role}', 'app', 'usage') as \"closed\";",
    }
    migrated(target, settings, files)
    write_files(settings.migrations, files)

    def broken() -> str:
        report = verify(target, read_folder(settings.migrations), settings)
        [found] = [each for each in report.lines if each.name == "checks"]
        return found.summary

    try:
        for _ in range(2):
            assert broken() == "1 hold of the rebuilt schema and the target"
        query(target, f"grant pg_read_all_data to {role}")
        assert broken() == "2 of 2 broken"
    finally:
        query(target, f"drop role {role}")


def test_another_headwater_proves_anew(
    target: Target, settings: Settings, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with(settings, files)
    ran = counted(monkeypatch)
    with shop_for(target, folder, settings) as shop:
        built(shop, VERSIONS)
        monkeypatch.setattr(kept, "_code", lambda: ["another"])
        built(shop, VERSIONS)
    assert ran == VERSIONS * 2


def test_what_a_killed_run_left_is_dropped_by_the_next(
    target: Target, settings: Settings, files: dict[str, str]
) -> None:
    name = made_up(target, scratch_of(ended()), "")
    with shop_for(target, folder_with(settings, files), settings):
        assert not there(target, name)


# --- sweeping ---------------------------------------------------------------------------------


def ended() -> Maker:
    """A process of this machine that runs no more (no process has this number on Linux)."""
    return replace(this_process(), pid=4_194_305)


def scratch_of(maker: Maker) -> str:
    return f"{SCRATCH_PREFIX}{maker}_{secrets.token_hex(4)}"


def made_up(target: Target, name: str, note: str) -> str:
    query(target, f"create database {name} template template0 allow_connections false")
    query(target, f"comment on database {name} is '{note}'")
    return name


def there(target: Target, name: str) -> bool:
    return bool(value(target, f"select count(*) from pg_database where datname = '{name}'"))


OLD = "headwater: template of p, used 2020-01-01T00:00:00+00:00"
FRESH = "headwater: template of p, used {now}"
CASES: dict[str, tuple[str, str, bool]] = {
    "old template": (f"{PREFIX}{secrets.token_hex(6)}", OLD, False),
    "fresh template": (f"{PREFIX}{secrets.token_hex(6)}", FRESH, True),
    "template without a note": (f"{PREFIX}{secrets.token_hex(6)}", "of somebody else", True),
    "scratch of a dead process": (scratch_of(ended()), "a note", False),
    "scratch of one that was killed before the note": (scratch_of(ended()), "", False),
    "scratch of a living one": (scratch_of(this_process()), "", True),
    "scratch of an earlier process of our number": (
        scratch_of(replace(this_process(), started=1)),
        "",
        False,
    ),
    "scratch of another machine": (scratch_of(replace(ended(), machine="0" * 8)), "", True),
    "scratch that was to be kept": (f"{SCRATCH_PREFIX}{secrets.token_hex(6)}", OLD, False),
    "another name": (scratch_of(ended()).replace("scratch", "other"), "a note", True),
    "a name that somebody chose": (f"{SCRATCH_PREFIX}of_mine_{secrets.token_hex(2)}", "", True),
}


@pytest.fixture(scope="module")
def tenant(server: Target) -> Generator[Tenant]:
    """A role of its own: what the tasks of other tests sweep is not its, and what it sweeps is."""
    with tenant_on(server) as made:
        yield made


@pytest.mark.parametrize("case", CASES)
def test_only_what_is_stale_is_swept(tenant: Tenant, case: str) -> None:
    name, note, stays = CASES[case]
    made_up(tenant.server, name, note.format(now=datetime.now(UTC).isoformat()))
    try:
        with connect(tenant.server, purpose="test") as connection:
            swept = sweep(connection, "p")
        assert (name not in swept) is stays
        assert there(tenant.server, name) is stays
    finally:
        query(tenant.server, f"drop database if exists {name}")


def test_the_templates_that_were_used_last_are_kept() -> None:
    note = "headwater: template of p, used 2026-01-10T10:{:02}:00+00:00"
    found = [(f"{PREFIX}{n:02}", note.format(n)) for n in range(40)]
    now = datetime(2026, 1, 20, tzinfo=UTC)
    assert sorted(templates._stale(found, "p", now)) == [f"{PREFIX}{n:02}" for n in range(16)]
    assert templates._stale(found, "another", now) == []


# --- down files -------------------------------------------------------------------------------

DOWNS: dict[str, tuple[str, str, list[str]]] = {
    "all of it": ("create table app.x (i int);", "drop table app.x;", []),
    "a table is left": (
        "create table app.x (i int); create table app.y (i int);",
        "drop table app.x;",
        [
            "left behind: table app.y",
        ],
    ),
    "a schema is left": (
        "create schema audit; create table app.x (i int);",
        "drop table app.x;",
        ["left behind: schema audit"],
    ),
    "a column is not brought back": (
        "alter table app.b drop column j;",
        "select 1;",
        ["not brought back: column app.b.j"],
    ),
    "a column comes back at the end": (
        "alter table app.b drop column i;",
        "alter table app.b add column i int;",
        ["not as before: table app.b: column order"],
    ),
    "a grant is left": (
        "grant select on app.b to public;",
        "select 1;",
        ["not as before: table app.b: grants"],
    ),
    "a comment is left": (
        "comment on table app.b is 'x';",
        "select 1;",
        ["not as before: table app.b: comment"],
    ),
    "a constraint is not validated": (
        "alter table app.b drop constraint positive;",
        "alter table app.b add constraint positive check (i > 0) not valid;",
        ["not as before: constraint positive on app.b: definition"],
    ),
    "an enum value cannot go": (
        "alter type app.mood add value 'glad';",
        "select 1;",
        ["left behind: value 'glad' of type app.mood"],
    ),
    "it fails": (
        "create table app.x (i int);",
        "drop table app.y;",
        ['it cannot be undone and done again: 0003_c.down.sql:1:1: table "y" does not exist'],
    ),
    "it cannot be done again": (
        "create table app.x (i int); insert into app.log values (1);",
        "drop table app.x;",
        ["it cannot be undone and done again: 0003_c.sql"],
    ),
    "without a transaction": (
        "-- headwater: no-transaction\ncreate index concurrently b_i on app.b (i);",
        "-- headwater: no-transaction\ndrop index concurrently app.b_i;",
        [],
    ),
}
FIRST = (
    "create schema app; create type app.mood as enum ('sad'); create table app.log (i int unique);"
    "create table app.b (i int, j int, constraint positive check (i > 0));"
)


@pytest.mark.parametrize("name", DOWNS)
def test_a_down_file_is_tried_and_what_it_leaves_is_named(
    target: Target, settings: Settings, unique: str, name: str
) -> None:
    up, down, expected = DOWNS[name]
    files = {"0001_a.sql": unique + FIRST, "0003_c.sql": up, "0003_c.down.sql": down}
    folder = folder_with(settings, files)
    with shop_for(target, folder, settings) as shop:
        with shop.build(["0001_a", "0003_c"]) as scratch:
            found = [finding.message for finding in scratch.undoing]
            assert {finding.file for finding in scratch.undoing} <= {"0003_c.down.sql"}
        keys = keys_in(shop)
        # What is not right is told again by the next run.
        assert longest(shop.connection, keys, "p") == (0 if found else 2)
    for text in expected:
        assert any(message.startswith(text) for message in found), found
    assert bool(found) == bool(expected)


def test_verify_has_a_line_for_the_down_files(
    target: Target, settings: Settings, unique: str
) -> None:
    files = {
        "0001_a.sql": f"{unique}create schema app; create table app.a (i int);",
        "0002_b.sql": "create table app.b (i int);",
        "0002_b.down.sql": "drop table app.b;",
    }
    migrated(target, settings, files)

    def line() -> tuple[Outcome, str, list[str]]:
        report = verify(target, read_folder(settings.migrations), settings)
        [found] = [each for each in report.lines if each.name == "undo"]
        return found.outcome, found.summary, [finding.message for finding in found.findings]

    proved = "1 down file proved: up, down, up again is the same"
    assert line() == (Outcome.OK, proved, [])
    assert line() == (Outcome.OK, proved, [])  # by what was kept
    write_files(settings.migrations, {"0002_b.down.sql": "select 1;"})
    wrong = "1 of 1 down file not undoing what it should"
    for _ in range(2):
        assert line() == (Outcome.FOUND, wrong, ["left behind: table app.b"])
    write_files(settings.migrations, {"0002_b.down.sql": "drop tabel app.b;"})
    report = verify(target, read_folder(settings.migrations), settings)
    assert [(f.file, f.rule) for f in report.lines[0].findings] == [("0002_b.down.sql", "syntax")]
