"""A draft of the migration that would keep a drift: run as one, it leaves none."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.checks.proof import verify
from headwater.files.read import read_folder
from headwater.model import Target
from headwater.postgres.bookkeeping import mark
from headwater.report.changes import describe
from headwater.settings import Settings
from headwater.verdicts import Draft, Outcome, Verification
from tests.projects import make_project
from tests.support import folder_with, migrated, query, write_files

BASE = """
create schema app;
create type app.mood as enum ('sad', 'glad');
create table app.t (i int primary key, "Odd name" text default 'x', n int not null, m app.mood);
create table app.other (i int primary key);
create index t_n on app.t (n);
alter table app.t add constraint positive check (n > 0);
create policy p on app.t for select using (n > 0);
create function app.f(a int, b text default 'x') returns int language sql stable
as $$
select a
$$;
create function app.touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger touched before insert on app.t for each row execute function app.touch();
create view app.v as select i from app.t;
create materialized view app.mv as select n from app.t;
grant select on app.t to public;
comment on table app.t is 'about t';
"""

DRAFTED = {
    "an extra column": "alter table app.t add column c varchar(10) collate \"C\" default 'q' "
    "not null",
    "an extra column with a comment and a grant": "alter table app.t add column c int;"
    "comment on column app.t.c is 'it''s new'; grant select (c) on app.t to public",
    "an extra identity column": "alter table app.t add column c int generated always as identity",
    "an extra generated column": "alter table app.t add c int generated always as (n + 1) stored",
    "a missing column": 'alter table app.t drop column "Odd name"',
    "a default": "alter table app.t alter n set default 7",
    "a default that is gone": 'alter table app.t alter "Odd name" drop default',
    "not null": "alter table app.t alter m set not null",
    "no longer not null": "alter table app.t alter n drop not null",
    "an extra index": "create unique index t_m on app.t (m) where n > 1",
    "a missing index": "drop index app.t_n",
    "another index": "drop index app.t_n; create index t_n on app.t (n desc)",
    "an extra constraint": "alter table app.t add constraint k unique (n, m)",
    "an extra foreign key": "alter table app.t add foreign key (n) references app.other not valid",
    "a missing constraint": "alter table app.t drop constraint positive",
    "another constraint": "alter table app.t drop constraint positive, add constraint positive "
    "check (n > 1)",
    "an extra policy": "create policy q on app.t as restrictive for update to public "
    "using (n > 1) with check (n > 2)",
    "a missing policy": "drop policy p on app.t",
    "another policy": "alter policy p on app.t using (n > 5)",
    "a comment": "comment on table app.t is 'about t, really'",
    "a comment that is gone": "comment on table app.t is null",
    "a comment on a policy": "comment on policy p on app.t is 'x'",
    "a comment on a constraint": "comment on constraint positive on app.t is 'x'",
    "a comment on a function": "comment on function app.f(int, text) is 'x'",
    "a grant": "grant insert, update on app.t to public with grant option".replace(
        " with grant option", ""
    ),
    "a revoke": "revoke select on app.t from public",
    "a grant on a column": "grant update (n) on app.t to public",
    "a revoke on a function": "revoke execute on function app.f(int, text) from public",
    "a grant on a schema": "grant usage on schema app to public",
    "a function body": "create or replace function app.f(a int, b text default 'x') returns int "
    "language sql stable as $$\nselect a + 1\n$$",
    "a function's volatility": "alter function app.f(int, text) volatile",
    "a function's settings": "alter function app.f(int, text) set search_path = ''",
    "an extra function": "create function app.g() returns void language plpgsql security definer "
    "as $x$ begin perform '$$'; end $x$",
    "an extra procedure": "create procedure app.h(a int) language sql as $$ select 1 $$",
    "a missing function": "drop function app.f(int, text)",
    "an extra materialized view with an index": "create materialized view app.m as select 1 as one;"
    "create unique index m_one on app.m (one)",
    "a view that lost a column": "create or replace view app.v as select i, n from app.t;"
    "drop view app.v; create view app.v as select n from app.t",
    "a view": "create or replace view app.v as select i, n from app.t where n > 3",
    "an extra view with options": "create view app.w with (security_invoker = true, "
    "security_barrier) as select 1 as one",
    "a comment on an odd name": 'create view app."Odd on name" as select 1 as "this on that";'
    """comment on column app."Odd on name"."this on that" is 'x'""",
    "an extra view": "create view app.w as select 1 as one",
    "a missing view": "drop view app.v",
    "a materialized view": "drop materialized view app.mv; create materialized view app.mv as "
    "select n + 1 as n from app.t",
    "an extra trigger": "create trigger again after update of n on app.t for each row "
    "when (old.n <> new.n) execute function app.touch()",
    "a missing trigger": "drop trigger touched on app.t",
    "a disabled trigger": "alter table app.t disable trigger touched",
    "a trigger that is always on": "alter table app.t enable always trigger touched",
    "row security": "alter table app.t enable row level security",
    "row security, forced": "alter table app.t enable row level security, force row level security",
    "several at once": "drop view app.v; alter table app.t drop column i; drop policy p on app.t;"
    "alter table app.t add column j bigint; create index t_j on app.t (j)",
}
BY_HAND = {
    "an extra table": "create table app.new (i int)",
    "a missing table": "drop table app.other",
    "a type of a column": "alter table app.other alter i type bigint",
    "a value of an enum": "alter type app.mood add value 'so so'",
    "a serial column": "alter table app.t add column c serial",
    "an extension": "create extension pg_trgm schema app",
    "storage": "alter table app.t set (fillfactor = 50)",
}


def drafted(target: Target, settings: Settings) -> tuple[Verification, Draft]:
    report = verify(target, read_folder(settings.migrations), settings, drafts=True)
    assert report.draft is not None
    return report, report.draft


def drift(report: Verification) -> list[str]:
    [line] = [line for line in report.lines if line.name == "drift"]
    assert line.outcome in {Outcome.OK, Outcome.FOUND}, line
    return [describe(change) for change in line.changes]


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAFTED)
def test_a_draft_that_is_run_as_a_migration_leaves_no_drift(
    target: Target, settings: Settings, name: str
) -> None:
    migrated(target, settings, {"20240101_base.sql": BASE})
    query(target, DRAFTED[name])
    report, draft = drafted(target, settings)
    assert drift(report)
    assert draft.cannot == ()
    write_files(settings.migrations, {"20240102_kept.sql": "\n".join(draft.statements)})
    folder = read_folder(settings.migrations)
    # What it does is there already.
    mark(target, folder, settings, "20240102_kept")
    assert drift(verify(target, folder, settings)) == []


@pytest.mark.parametrize("name", BY_HAND)
def test_what_cannot_be_drafted_is_said(target: Target, settings: Settings, name: str) -> None:
    migrated(target, settings, {"20240101_base.sql": BASE})
    query(target, BY_HAND[name])
    report, draft = drafted(target, settings)
    assert [describe(change) for change in draft.cannot] == drift(report)
    assert draft.statements == ()


def test_a_grant_to_a_name_that_could_be_misread_is_left_to_a_person(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, {"20240101_base.sql": BASE})
    role = f"{target.database}, or: b"
    query(target, f'create role "{role}"; grant select on app.t to "{role}"')
    try:
        _, draft = drafted(target, settings)
        assert [change.attribute for change in draft.cannot] == ["grants"]
    finally:
        query(target, f'drop owned by "{role}"; drop role "{role}"')


@pytest.mark.parametrize(
    ("text", "attribute"),
    [
        (
            "alter table app.t add c int generated always as identity (start 5 increment 5)",
            "identity",
        ),
        ("alter table app.t add c text storage external", "storage"),
        ("create view app.w as select 1 as a; alter view app.w owner to pg_monitor", "owner"),
    ],
)
def test_what_a_statement_does_not_say_of_a_new_object_is_said(
    target: Target, settings: Settings, text: str, attribute: str
) -> None:
    migrated(target, settings, {"20240101_base.sql": BASE})
    query(target, text)
    _, draft = drafted(target, settings)
    assert draft.statements
    assert [change.attribute for change in draft.cannot] == [attribute]


def test_a_name_with_a_line_of_sql_in_it_stays_a_comment(target: Target, tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"20240101_base.sql": BASE}, target)
    project.invoke("migrate")
    query(target, 'create table app."x\ndrop schema app cascade; --" (i int)')
    out = project.invoke("verify --sql", code=1).out
    draft = out[out.index("-- A draft") :].splitlines()
    assert all(line.startswith("--") for line in draft if line), draft


def test_without_drift_there_is_nothing_to_draft(target: Target, settings: Settings) -> None:
    folder = folder_with(settings, {"20240101_base.sql": BASE})
    assert verify(target, folder, settings).draft is None
    _, draft = drafted(target, settings)
    assert draft == Draft(statements=(), cannot=())


def test_a_draft_is_printed_as_sql_and_marked_as_one(target: Target, tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"20240101_base.sql": BASE}, target)
    project.invoke("migrate")
    query(target, "drop index app.t_n; create table app.new (i int)")
    said = project.invoke("verify --sql", code=1).said("-- A draft that would keep it.")
    assert "\nDROP INDEX app.t_n;\n" in said.out
    assert "-- to be written by hand: table app.new: in the database, not in the files" in said.out
    form = project.invoke("verify --sql --json", code=1).json["draft"]
    assert form["statements"] == ["DROP INDEX app.t_n;"]
    assert [change["object"] for change in form["cannot"]] == ["table app.new"]
    assert project.invoke("verify --json", code=1).json["draft"] is None


def test_a_difference_of_long_texts_is_drawn_line_by_line(target: Target, tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"20240101_base.sql": BASE}, target)
    project.invoke("migrate")
    query(target, DRAFTED["a function body"])
    said = project.invoke("verify", code=1).said("function app.f(integer,text): source differs")
    assert "        -select a\n        +select a + 1\n" in said.out
