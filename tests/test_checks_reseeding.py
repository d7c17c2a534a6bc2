"""The line of verify about seeds: they still fit the schema, and may run again."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from headwater.checks import building, reseeding
from headwater.checks.proof import verify
from headwater.files.read import read_folder
from headwater.model import Event, Finding, Said, Target
from headwater.settings import Settings
from headwater.verdicts import CheckLine, Outcome
from tests.support import migrated, query, value, write_files

SCHEMA = {
    "0001_init.sql": """\
create schema app;
create table app.t (
    i int primary key, name text not null, updated_at timestamptz not null default now()
);
create function app.touch() returns trigger language plpgsql as $$
begin
    new.updated_at := clock_timestamp();
    return new;
end $$;
create trigger touch before update on app.t for each row execute function app.touch();
create table app.log (what text);
"""
}
FINE = """\
insert into app.t (i, name) values (1, 'one'), (2, 'two')
on conflict (i) do update set name = excluded.name where t.name is distinct from excluded.name;
"""
PYTHON = """\
def seed(connection):
    connection.execute("insert into app.t (i, name) values (3, 'three') on conflict do nothing")
"""
# What was found of a template is kept, and another test process may have found it.
NEW = f"-- {secrets.token_hex(6)}\n"
RUNS = "running the seeds on a copy, twice"


@pytest.fixture
def built(target: Target, settings: Settings) -> Target:
    migrated(target, settings, SCHEMA)
    return target


def line_of(
    target: Target, settings: Settings, seeds: dict[str, str], said: list[str] | None = None
) -> CheckLine:
    """Verify with exactly these seeds; `said` takes what was told meanwhile."""
    folder = settings.root / "seeds"
    for old in folder.glob("*"):
        old.unlink()
    write_files(folder, seeds)

    def notify(event: Event) -> None:
        if said is not None and isinstance(event, Said):
            said.append(event.message)

    report = verify(target, read_folder(settings.migrations), settings, notify=notify)
    [line] = [line for line in report.lines if line.name == "seeds"]
    others = {other.outcome for other in report.lines if other is not line}
    assert others == {Outcome.OK}
    return line


def findings_of(target: Target, settings: Settings, seeds: dict[str, str]) -> list[Finding]:
    line = line_of(target, settings, seeds)
    assert (line.outcome, bool(line.findings)) == (Outcome.FOUND, True)
    return list(line.findings)


def only_finding(target: Target, settings: Settings, seeds: dict[str, str]) -> Finding:
    [finding] = findings_of(target, settings, seeds)
    return finding


# --- all is well ------------------------------------------------------------------------------


def test_seeds_that_fit_are_run_once_for_each_state_of_the_files_and_the_roles(
    built: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(Of the roles it is told here: other tests make and drop some of this server meanwhile.)"""
    seeds, edited = ({"10_a.sql": NEW + text, "20_b.py": PYTHON} for text in (FINE, f"\n{FINE}"))
    for given, roles, runs in (
        (seeds, ["postgres"], True),
        (seeds, ["postgres"], False),
        (seeds, ["postgres", "reader"], True),
        (seeds, ["postgres"], False),
        (edited, ["postgres"], True),
        (edited, ["postgres"], False),
    ):
        monkeypatch.setattr(building, "roles_of", lambda _, roles=roles: roles)
        said = list[str]()
        line = line_of(built, settings, given, said)
        assert line.outcome is Outcome.OK
        assert line.summary == "2 seeds fit; a second run changes nothing"
        assert (RUNS in said) is runs
    assert value(built, "select count(*) from app.t") == 0, "the target was written to"


def test_without_seeds_the_line_says_so(built: Target, settings: Settings) -> None:
    line = line_of(built, settings, {})
    assert (line.outcome, line.summary) == (Outcome.OK, "there are none")


def test_seeds_must_fit_what_is_pending_as_well(built: Target, settings: Settings) -> None:
    assert line_of(built, settings, {"10_a.sql": FINE}).outcome is Outcome.OK
    write_files(
        settings.migrations, {"20250102_more.sql": "alter table app.t rename name to title;\n"}
    )
    line = line_of_pending(built, settings)
    assert line.outcome is Outcome.FOUND
    assert [(f.rule, f.file, f.line) for f in line.findings] == [("seed", "seeds/10_a.sql", 1)]
    assert 'column "name" of relation "t" does not exist' in line.findings[0].message


def line_of_pending(target: Target, settings: Settings) -> CheckLine:
    report = verify(target, read_folder(settings.migrations), settings)
    return next(line for line in report.lines if line.name == "seeds")


# --- what is told -----------------------------------------------------------------------------


def test_a_seed_that_no_longer_fits_is_told_with_its_place(
    built: Target, settings: Settings
) -> None:
    for name, text, line in (
        ("20_b.sql", "-- more\ninsert into app.t (i, title) values (3, 'x');\n", 2),
        ("20_b.py", PYTHON.replace("name", "title"), 2),
    ):
        finding = only_finding(built, settings, {"10_a.sql": FINE, name: text})
        assert (finding.rule, finding.file, finding.line) == ("seed", f"seeds/{name}", line)
        assert 'column "title" of relation "t" does not exist' in finding.message


def test_a_seed_that_changes_rows_again_is_told_with_table_and_count(
    built: Target, settings: Settings
) -> None:
    again = "insert into app.log values ('a'), ('b');\n"
    update = "update app.t set name = name where i = 1;\n"
    findings = findings_of(
        built,
        settings,
        {
            "10_a.sql": f"{FINE}{update}",
            "20_b.sql": f"select 1;\n{again}",
            "30_c.sql": "delete from app.log where what = 'a';\n",
            "40_d.py": "def seed(connection):\n    connection.execute('select 1')\n",
            "50_e.py": '\ndef seed(connection):\n    connection.execute("insert into app.log '
            'values (now()::text)")\n',
        },
    )
    told = [(finding.file, finding.line, finding.message) for finding in findings]
    prefix = "run a second time, it changes"
    assert told == [
        ("seeds/10_a.sql", 3, f"{prefix} app.t: 1 row changed"),
        ("seeds/20_b.sql", 2, f"{prefix} app.log: 2 rows added"),
        ("seeds/30_c.sql", 1, f"{prefix} app.log: 1 row deleted"),
        ("seeds/50_e.py", 2, f"{prefix} app.log: 1 row added"),
    ]
    assert all("is distinct from" in finding.hint for finding in findings)
    assert all(finding.rule == "seed-repeat" for finding in findings)


def test_a_seed_that_fails_again_is_told_with_its_place(built: Target, settings: Settings) -> None:
    text = "select 1;\ninsert into app.t (i, name) values (1, 'one');\n"
    finding = only_finding(built, settings, {"10_a.sql": text})
    assert (finding.rule, finding.file, finding.line) == ("seed-repeat", "seeds/10_a.sql", 2)
    assert finding.message.startswith("run a second time, it fails: duplicate key value")


def test_a_seed_that_changes_the_schema_is_told(built: Target, settings: Settings) -> None:
    block = "select 1;\ndo $$ begin create table if not exists app.by_seed (i int); end $$;\n"
    python = "def seed(connection):\n    connection.execute('create schema if not exists other')\n"
    for name, text, what in (
        ("20_b.sql", block, "table app.by_seed"),
        ("20_b.py", python, "schema other"),
    ):
        seeds = {"10_a.sql": FINE, name: text, "30_c.sql": FINE}
        finding = only_finding(built, settings, seeds)
        assert (finding.rule, finding.file) == ("seed-statement", f"seeds/{name}")
        assert what in finding.message


def test_a_bad_file_is_told_and_nothing_is_run(built: Target, settings: Settings) -> None:
    said = list[str]()
    line = line_of(
        built, settings, {"10_a.sql": FINE, "Notes.txt": "", "20_b.sql": "commit;"}, said
    )
    assert [finding.file for finding in line.findings] == ["seeds/Notes.txt", "seeds/20_b.sql"]
    assert RUNS not in said


def test_a_folder_that_is_named_and_not_there_is_told(built: Target, settings: Settings) -> None:
    elsewhere = replace(settings, seeds=settings.root / "sedes")
    report = verify(built, read_folder(settings.migrations), elsewhere)
    [line] = [line for line in report.lines if line.name == "seeds"]
    assert line.outcome is Outcome.FOUND
    assert "cannot be read" in line.findings[0].message
    assert report.exit_code == 1


def test_where_nothing_can_be_built_the_files_are_read_all_the_same(
    built: Target, settings: Settings
) -> None:
    write_files(settings.migrations, {"20250102_broken.sql": "select nothing;\n"})
    write_files(settings.root / "seeds", {"10_a.sql": FINE})
    assert line_of_pending(built, settings).outcome is Outcome.SKIPPED
    write_files(settings.root / "seeds", {"20_b.sql": "commit;"})
    assert line_of_pending(built, settings).outcome is Outcome.FOUND


def test_a_copy_that_cannot_be_used_is_no_fault_of_a_seed(
    built: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = {"10_a.sql": f"{NEW}{FINE}select 'on a copy';\n"}
    monkeypatch.setattr(reseeding, "_TABLES", "select nothing")
    assert line_of(built, settings, seeds).outcome is Outcome.IMPOSSIBLE
    monkeypatch.undo()
    assert line_of(built, settings, seeds).outcome is Outcome.OK


def test_rows_are_compared_in_tables_and_partitions_of_any_schema(
    target: Target, settings: Settings
) -> None:
    odd = """\
create schema app;
create table app."O d.d" (headwater_row int, "t" json);
create table app.parts (i int) partition by list (i);
create table app.part partition of app.parts default;
create schema other;
create table other.rows (i int);
"""
    migrated(target, settings, {"0001_init.sql": odd})
    assert query(target, "select count(*) from other.rows") == [(0,)]
    text = """insert into app."O d.d" values (1, '{}');
insert into app.parts values (1);
insert into other.rows values (1);
"""
    findings = findings_of(target, settings, {"10_a.sql": text})
    assert [(finding.relation, finding.line) for finding in findings] == [
        ("app.O d.d", 1),
        ("app.part", 1),
        ("other.rows", 3),
    ]


def test_a_finding_about_the_folder_names_that_folder(settings: Settings) -> None:
    (settings.root / "seeds").write_text("", encoding="utf-8")
    folder = reseeding.seeds_to_prove(settings)
    assert folder.path == settings.root / "seeds"
    assert str(folder.path) in folder.findings[0].message
