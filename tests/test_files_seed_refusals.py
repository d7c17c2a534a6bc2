"""What a seed must not hold: told before anything runs, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import FilesError
from headwater.files.seed_refusals import accept_seeds, check_seeds
from headwater.files.seeds import read_seeds_in
from headwater.model import Finding
from tests.support import write_files

FINE = "insert into app.t values (1);\n"


def findings_of(folder: Path, text: str, name: str = "10_a.sql") -> tuple[Finding, ...]:
    """Give what is wrong with a folder that holds one seed."""
    write_files(folder / "seeds", {name: text})
    ready, findings = check_seeds(read_seeds_in(folder / "seeds"))
    assert len(ready.seeds) + bool(findings) == 1
    return findings


def only_finding(folder: Path, text: str, name: str = "10_a.sql") -> Finding:
    [finding] = findings_of(folder, text, name)
    assert finding.file == f"seeds/{name}"
    return finding


# --- SQL --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("commit;", "transaction-control"),
        ("begin;", "transaction-control"),
        ("savepoint a;", "transaction-control"),
        ("set transaction read only;", "transaction-control"),
        ("copy app.t from stdin;\n1\n\\.\n", "copy-stdin"),
        ("copy app.t to stdout;", "copy-stdout"),
        ("\\i other.sql", "syntax"),
        ("insert into;", "syntax"),
        ("insert into app.t values (1) ;\u00a0", "syntax"),
        ("create table app.s ();", "seed-statement"),
        ("select 1 as i into app.s;", "seed-statement"),
        ("create table app.s as select 1;", "seed-statement"),
        ("alter table app.t disable trigger user;", "seed-statement"),
        ("drop table app.t;", "seed-statement"),
        ("create role r;", "seed-statement"),
        ("grant select on app.t to public;", "seed-statement"),
        ("comment on table app.t is 'x';", "seed-statement"),
        ("create index concurrently on app.t (i);", "seed-statement"),
        ("vacuum app.t;", "seed-statement"),
    ],
)
def test_what_is_no_work_for_a_seed_is_refused_with_its_line(
    tmp_path: Path, statement: str, rule: str
) -> None:
    finding = only_finding(tmp_path, FINE + statement)
    assert (finding.rule, finding.line) == (rule, 2)


@pytest.mark.parametrize(
    "text",
    [
        "update app.t set i = 2; delete from app.t; truncate app.t;",
        "merge into app.t using app.s on t.i = s.i when matched then delete;",
        "with a as (insert into app.t values (1) returning i) select i from a;",
        "do $$ begin perform 1; end $$; call app.p();",
        "set search_path = app; set local role app_rls; reset role;",
        "create temporary table s (i int); select 1 as i into temp s2; analyze app.t;",
        "create temp table s as select 1; insert into app.t select * from s;",
        "select setval('app.s', 1); set constraints all deferred; lock table app.t;",
        "prepare p as insert into app.t values ($1); execute p (1); deallocate p;",
        "copy app.t from '/tmp/rows'; refresh materialized view app.m;",
    ],
)
def test_whatever_writes_rows_is_accepted(tmp_path: Path, text: str) -> None:
    assert findings_of(tmp_path, text) == ()


def test_a_seed_without_a_statement_is_refused(tmp_path: Path) -> None:
    assert only_finding(tmp_path, "-- later\n").rule == "empty"


@pytest.mark.parametrize("directive", ["no-transaction", "lock-timeout 2s"])
def test_a_directive_of_migrations_is_not_silently_ignored(tmp_path: Path, directive: str) -> None:
    finding = only_finding(tmp_path, f"-- A seed.\n-- headwater: {directive}\n{FINE}")
    assert (finding.rule, finding.line) == ("directive", 2)
    assert "one transaction" in finding.message


# --- Python -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "rows = []\n",
        "import a.seed\n",
        "seed = print\n",
        "async def seed(connection): ...\n",
        "class seed: ...\n",
        "def seed(): ...\n",
        "def seed(connection, more): ...\n",
        "def seed(connection, *, more): ...\n",
    ],
)
def test_a_python_seed_has_a_function_of_one_argument(tmp_path: Path, text: str) -> None:
    finding = only_finding(tmp_path, text, "10_a.py")
    assert finding.rule == "seed-function"
    assert "def seed(connection: psycopg.Connection) -> None" in finding.message


@pytest.mark.parametrize("arguments", ["connection", "connection, more=1", "c, /, *, m=1", "*all"])
def test_arguments_that_need_no_value_are_accepted(tmp_path: Path, arguments: str) -> None:
    assert findings_of(tmp_path, f"def seed({arguments}): ...\n", "10_a.py") == ()


def test_what_python_cannot_read_is_told_with_its_place(tmp_path: Path) -> None:
    finding = only_finding(tmp_path, "def seed(connection):\n    x = = 1\n", "10_a.py")
    assert (finding.rule, finding.line, finding.column) == ("syntax", 2, 9)
    assert finding.source == "    x = = 1"
    deep = f"def seed(connection): ...\nx = {'-' * 100_000}1\n"
    assert only_finding(tmp_path, deep, "10_a.py").rule == "syntax"


def test_a_helper_is_read_as_well(tmp_path: Path) -> None:
    write_files(tmp_path / "seeds", {"_names.py": "x = = 1\n", "10_a.sql": FINE})
    [finding] = check_seeds(read_seeds_in(tmp_path / "seeds"))[1]
    assert (finding.file, finding.line) == ("seeds/_names.py", 1)


# --- the whole --------------------------------------------------------------------------------


def test_everything_wrong_is_told_in_one_error(tmp_path: Path) -> None:
    write_files(tmp_path, {"10_a.sql": "commit;", "20_b.py": "", "Notes.txt": "", "30_c.sql": FINE})
    with pytest.raises(FilesError, match="3 problems in the seeds; nothing was run") as caught:
        accept_seeds(read_seeds_in(tmp_path))
    rules = {finding.rule for finding in caught.value.findings}
    assert rules == {"transaction-control", "seed-function", "bad-name"}


def test_no_seed_is_not_what_somebody_means_who_asks_for_seeds(tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="there is no seed in"):
        accept_seeds(read_seeds_in(tmp_path))
