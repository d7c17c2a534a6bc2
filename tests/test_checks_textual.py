"""Our own rules about the text: what a file made is new, DO blocks are looked into."""

from __future__ import annotations

import pytest

from headwater.checks.text_file import Learnt
from headwater.checks.textual import read_text
from headwater.files.accepted import Accepted
from headwater.files.directives import read_header
from headwater.files.grammar import parse
from headwater.model import Finding, Migration, Severity

NO_TRANSACTION = "-- headwater: no-transaction\n"


def accepted(text: str) -> Accepted:
    return Accepted(
        migration=Migration(version="0001_a", text=text, checksum="", directives=read_header(text))
    )


def findings(text: str) -> list[Finding]:
    return sorted(read_text(accepted(text)).findings, key=lambda f: (f.line, f.column, f.rule))


def found(text: str) -> list[tuple[str, int, int]]:
    return [(f.rule, f.line, f.column) for f in findings(text)]


def rules(text: str) -> list[str]:
    return [f.rule for f in findings(text)]


# --- what a file made -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "update app.n set a = 1",
        "delete from app.n",
        "truncate app.n",
        "lock table app.n",
        "create trigger x before insert on app.n for each row execute function f()",
        "alter table app.n add column c int check (c > 0), add column d bigserial",
        "alter table app.n add column c int generated always as (a) stored",
        "alter table app.n set unlogged",
        "alter table app.n disable trigger user",
        "alter table app.n add constraint c check (a > 0) not valid, validate constraint c",
        "alter table app.n add constraint c exclude (a with =)",
        "alter table app.n drop column a cascade",
        "drop table app.n cascade",
        "cluster app.n using i",
        "create table app.p partition of app.n for values in (1)",
        "alter table app.days attach partition app.n default",
    ],
)
def test_nobody_waits_for_a_table_of_the_same_file(text: str) -> None:
    assert rules(text) != []
    for made in ("create table app.n (a int)", "create table app.n as select 1 as a"):
        assert rules(f"{made};\n{text}") == []
    assert rules(f"select 1 as a into app.n;\n{text}") == []
    assert rules(f"create table app.other (a int);\n{text}") != []


def test_a_name_without_a_schema_may_be_that_of_what_the_file_made() -> None:
    assert rules("create table n (a int); update app.n set a = 1") == []
    assert rules("create table app.n (a int); update n set a = 1") == []
    assert rules("create table app.n (a int); update kb.n set a = 1") == ["update-without-where"]


def test_what_is_new_stays_new_under_another_name_and_what_is_old_stays_old() -> None:
    swap = (
        "create table app.new (a int);\n"
        "alter table app.t rename to old;\n"
        "alter table app.new rename to t;\n"
    )
    assert rules(f"{swap}update app.t set a = 1") == []
    assert found(f"{swap}update app.old set a = 1") == [("update-without-where", 4, 1)]
    moved = "create table app.n (a int); alter table app.n set schema kb;"
    assert rules(f"{moved} update kb.n set a = 1") == []
    assert rules(f"{moved} update app.n set a = 1") == ["update-without-where"]


def test_a_materialized_view_of_the_same_file_may_be_refreshed() -> None:
    assert (
        rules("create materialized view app.m as select 1; refresh materialized view app.m") == []
    )


# --- places -----------------------------------------------------------------------------------


def test_a_finding_ends_where_its_statement_ends() -> None:
    [finding] = findings("select 1;\n  update app.t\n  set a = 1 ;")
    assert (finding.line, finding.column, finding.end_line, finding.end_column) == (2, 3, 3, 12)
    assert (finding.source, finding.relation) == ("  update app.t", "app.t")


def test_a_clause_is_found_at_its_own_place_counted_in_characters() -> None:
    text = 'alter table "é"."日𝄞"\n  add column "ü" int,\n  add column "ö" int check (true);'
    assert found(text) == [("add-column-check", 3, 22)]


# --- DO blocks --------------------------------------------------------------------------------

BLOCK = """\
-- é
do $body$
declare
    n bigint;
begin
    select count(*) into n
        from app.t;
    if n > 0 then
        update app.t
            set a = 1;
    end if;
    execute 'truncate app.t';
    execute format('truncate app.%I', 'u');
    perform set_config('search_path', 'app', false);
    begin
        alter table app.t add column b int, add column c json;
    exception when others then
        rollback;
    end;
end
$body$;
"""


def test_a_block_is_looked_into_at_the_lines_of_the_file() -> None:
    assert found(BLOCK) == [
        ("update-without-where", 9, 9),
        ("truncate", 12, 14),
        ("setting-left", 14, 13),
        ("json-column", 16, 58),
        ("commit-in-block", 18, 9),
    ]


def test_a_block_outside_a_transaction_may_commit() -> None:
    assert rules(f"{NO_TRANSACTION}do $$ begin commit; end $$") == []
    assert found("do $$ begin\n  commit;\nend $$") == [("commit-in-block", 2, 3)]


def test_a_table_that_a_block_made_is_new() -> None:
    text = "do $$ begin create table app.n (a int); update app.n set a = 1; end $$"
    assert rules(f"{text};\ndelete from app.n") == []


@pytest.mark.parametrize(
    "block",
    [
        "do $$ begin x; end $$",
        "do $$ declare r app.of_my_own; begin delete from app.t; end $$",
        "do 'begin delete from app.t where name = ''x''; delete from app.t; end'",
        "do language plpython3u 'delete from app.t'",
        "do language plpgsql",
        "do $$ begin execute 'no sql at all'; end $$",
        "do $$ begin execute E'truncate app.t\\n'; end $$",
    ],
)
def test_a_block_that_cannot_be_read_says_nothing(block: str) -> None:
    read = read_text(accepted(f"{block};\ndelete from app.t;"))
    assert [f.rule for f in read.findings] == ["delete-without-where"]
    assert read.sent == read.text


def test_squawk_gets_the_sql_of_a_block_at_its_place() -> None:
    read = read_text(accepted(BLOCK))
    lines = read.sent.splitlines()
    assert [len(line) for line in lines] == [len(line) for line in BLOCK.splitlines()]
    assert [line.strip() for line in lines if line.strip()] == [
        "-- é",
        "select count(*)",
        "from app.t;",
        "update app.t",
        "set a = 1;",
        "truncate app.t;",
        "SELECT set_config('search_path', 'app', false);",
        "alter table app.t add column b int, add column c json;",
        ";",
    ]
    parse(read.sent)


# --- the file as a whole ----------------------------------------------------------------------


def test_concurrently_is_alone_but_for_settings() -> None:
    one = "create index concurrently i on app.t (a);\n"
    assert rules(f"{NO_TRANSACTION}set maintenance_work_mem = '1GB';\n{one}") == []
    assert found(f"{NO_TRANSACTION}select 1;\n{one}drop index concurrently app.j;") == [
        ("concurrently-not-alone", 3, 1)
    ]


def test_what_is_made_again_is_told_to_squawk() -> None:
    text = "drop view app.v;\ndrop view app.w;\ncreate view app.v as select 1;"
    gone, left, _ = read_text(accepted(text)).parts
    assert "ban-drop-view" in gone.silenced
    assert "ban-drop-view" not in left.silenced
    gone, *_ = read_text(accepted(NO_TRANSACTION + text)).parts
    assert "ban-drop-view" not in gone.silenced


def test_a_proof_of_not_null_is_carried_from_file_to_file() -> None:
    learnt = Learnt()
    add = "alter table app.t add constraint known check (a is not null) not valid"
    use = (
        "alter table app.t validate constraint known;\n"
        "alter table app.t alter column {} set not null"
    )
    read_text(accepted(add), learnt)
    read = read_text(accepted(use.format("a")), learnt)
    assert "adding-not-nullable-field" in read.parts[-1].silenced
    assert read.findings == ()
    [finding] = read_text(accepted(use.format("b")), learnt).findings
    assert (finding.rule, finding.line) == ("adding-not-nullable-field", 2)
    read_text(accepted("alter table app.t drop constraint known"), learnt)
    read = read_text(accepted("alter table app.t alter column a set not null"), learnt)
    assert read.parts[-1].silenced == frozenset()


def test_a_value_of_an_enum_is_sure_where_it_is_cast() -> None:
    add = "alter type app.mood add value 'calm';\n"
    [sure] = findings(f"{add}select 'calm'::app.mood")
    [likely] = findings(f"{add}select 'calm'")
    assert (sure.severity, likely.severity) == (Severity.ERROR, Severity.WARNING)
    assert likely.message.endswith("if this is a value of app.mood.")
    assert rules(f"{add}comment on type app.mood is 'calm'") == []
    assert rules(f"{add}alter type app.mood add value 'x' after 'calm'") == []
    assert rules(f"{NO_TRANSACTION}{add}select 'calm'") == []
    assert rules(f"create type app.mood as enum ('a');\n{add}select 'calm'::app.mood") == []
