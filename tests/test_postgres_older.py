"""An older table of migrations: which file a row means, and the table that becomes our history."""

from __future__ import annotations

import pytest

from headwater.errors import HistoryError, TargetError
from headwater.files.text import checksum
from headwater.model import Migration, Target
from headwater.postgres import history
from headwater.postgres.connect import connect, pin_for_bookkeeping
from headwater.postgres.older import OlderRow, convert, files_of, read_older
from headwater.settings import Settings
from tests.support import query, value

INIT, TABLES, RULES = "0001_init", "20240101_tables", "20240101_rules"


def file(version: str) -> Migration:
    text = f"create table {version.partition('_')[2]} ();"
    return Migration(version=version, text=text, checksum=checksum(text))


FILES = [file(version) for version in (INIT, TABLES, RULES)]
TOKENS = {version: f"tok-1:{version}" for version in (INIT, TABLES, RULES)}


def rows(*pairs: tuple[str | None, str | None]) -> list[OlderRow]:
    return [
        OlderRow(place=f"(0,{number})", version=version, filename=filename)
        for number, (version, filename) in enumerate(pairs, start=1)
    ]


def meant(*pairs: tuple[str | None, str | None]) -> list[str]:
    return [migration.version for migration in files_of(rows(*pairs), FILES).values()]


# --- which file a row means -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "filename"),
    [
        (INIT, None),
        (INIT, f"{INIT}.sql"),
        (f"{INIT}.sql", None),
        ("0001", f"{INIT}.sql"),
        ("0001", None),
        ("1", f"{INIT}.sql"),
        ("", f"{INIT}.sql"),
        (None, f"{INIT}.sql"),
        ("0001", f"migrations/{INIT}.sql"),
        ("0001", "renamed_since.sql"),
    ],
)
def test_a_row_means_the_file_that_one_of_its_names_says(
    version: str | None, filename: str | None
) -> None:
    assert meant((version, filename)) == [INIT]


def test_a_file_name_tells_two_files_of_one_day_apart() -> None:
    assert meant(("20240101", f"{RULES}.sql")) == [RULES]


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([("20240101", None)], f"it may mean {TABLES}.sql or {RULES}.sql"),
        ([("1", None)], "there is no such file"),
        ([("0002", "0002_gone.sql")], "there is no such file"),
        ([("000", None)], "there is no such file"),
        ([(None, None)], "there is no such file"),
        ([("", "")], "there is no such file"),
        ([(INIT, f"{TABLES}.sql")], f"it may mean {INIT}.sql or {TABLES}.sql"),
        ([(INIT, None), ("0001", None)], f"another row means {INIT}.sql too"),
        ([(INIT.upper(), None)], "there is no such file"),
    ],
)
def test_a_row_that_would_be_a_guess_is_named_and_refused(
    pairs: list[tuple[str | None, str | None]], words: str
) -> None:
    with pytest.raises(HistoryError, match="of the older history cannot be told") as caught:
        meant(*pairs)
    assert words in caught.value.findings[0].message
    assert repr(pairs[0][0]) in caught.value.findings[0].message


def test_every_row_that_cannot_be_told_is_named_at_once() -> None:
    with pytest.raises(HistoryError, match="2 rows of the older history") as caught:
        meant(("0002", None), (INIT, None), ("0003", None))
    assert len(caught.value.findings) == 2


# --- the table --------------------------------------------------------------------------------

FORMS = {
    "plain": "create table schema_migrations (version text primary key, filename text not null, "
    "applied_at timestamptz not null default now())",
    "other types": "create table schema_migrations (version varchar(64) primary key, "
    "filename varchar(255) not null, applied_at timestamp default now())",
    "numbers": "create table schema_migrations (version int not null, filename text unique, "
    "applied_at date)",
    "a key of its own": "create table schema_migrations (id serial primary key, version text, "
    "filename text not null, applied_at timestamptz default now(), took_s int not null default 0)",
    "no key": "create table schema_migrations (version text default 'x', filename text, "
    "applied_at timestamptz)",
    "more columns": "create table schema_migrations (version text primary key, filename text, "
    "applied_at timestamptz, author text not null)",
    "under a view": "create table schema_migrations (version text primary key, filename text, "
    "applied_at timestamptz); create view seen as "
    "select version, applied_at from schema_migrations",
}
WHEN = "2024-05-06 07:08:09"


def older_table(target: Target, form: str, *, filled: bool = True) -> None:
    query(target, FORMS[form])
    author, ann = (", author", ", 'ann'") if form == "more columns" else ("", "")
    if filled:
        query(
            target,
            f"insert into schema_migrations (version, filename, applied_at{author}) "
            f"values ('1', '{INIT}.sql', '{WHEN}'{ann})",
        )


def take_over(target: Target, settings: Settings, files: list[Migration] = FILES) -> None:
    with connect(target, purpose="test") as connection:
        pin_for_bookkeeping(connection)
        with connection.transaction():
            convert(connection, settings, files, TOKENS)


@pytest.mark.parametrize("form", FORMS)
def test_the_older_table_becomes_our_history_and_keeps_its_row(
    target: Target, settings: Settings, form: str
) -> None:
    older_table(target, form)
    take_over(target, settings)
    with connect(target, purpose="test") as connection:
        assert history.has_history(connection, settings)
        [row] = history.read_history(connection, settings)
        assert history.versions_half_done(connection, settings) == frozenset()
    assert (row.version, row.checksum) == (INIT, FILES[0].checksum)
    assert (row.tokens, row.how, row.applied_by) == (TOKENS[INIT], "baseline", "unknown")
    assert str(row.applied_at) == (
        "2024-05-06 00:00:00+00:00" if form == "numbers" else f"{WHEN}+00:00"
    )
    assert value(target, "select filename from schema_migrations") == f"{INIT}.sql"


@pytest.mark.parametrize("form", FORMS)
def test_the_table_takes_a_new_record_once_and_no_second_one(
    target: Target, settings: Settings, form: str
) -> None:
    older_table(target, form)
    take_over(target, settings)
    insert = f"insert into schema_migrations (version, checksum) values ('{TABLES}', 'x')"
    query(target, insert)
    assert value(
        target,
        f"select applied_by = current_user and how = 'run' and applied_at is not null "
        f"from schema_migrations where version = '{TABLES}'",
    )
    for wrong in (insert, insert.replace("'x'", "null"), insert.replace(f"'{TABLES}'", "null")):
        with pytest.raises(Exception, match="violates"):
            query(target, wrong)


def test_a_row_that_cannot_be_told_leaves_the_table_as_it_was(
    target: Target, settings: Settings
) -> None:
    older_table(target, "other types")
    shape = (
        "select array_agg(row(attname, atttypid, attnotnull)::text order by attnum)::text "
        "from pg_attribute where attrelid = 'schema_migrations'::regclass"
    )
    before = value(target, shape), query(target, "select * from schema_migrations")
    with pytest.raises(HistoryError, match="1 row of the older history"):
        take_over(target, settings, FILES[1:])
    assert (value(target, shape), query(target, "select * from schema_migrations")) == before
    assert value(target, "select to_regclass('schema_migrations_steps') is null")


def test_a_row_that_came_since_it_was_read_is_not_taken_over(
    target: Target, settings: Settings
) -> None:
    older_table(target, "plain")
    query(target, f"insert into schema_migrations values ('20230101_x', '{TABLES}.sql')")
    with connect(target, purpose="test") as connection:
        pin_for_bookkeeping(connection)
        with pytest.raises(HistoryError, match="was changed meanwhile"):
            convert(connection, settings, FILES, {INIT: TOKENS[INIT]})


def test_an_empty_older_table_is_taken_over_too(target: Target, settings: Settings) -> None:
    older_table(target, "plain", filled=False)
    take_over(target, settings)
    with connect(target, purpose="test") as connection:
        assert history.read_history(connection, settings) == ()


def test_only_the_owner_of_the_table_takes_it_over(target: Target, settings: Settings) -> None:
    older_table(target, "plain")
    query(target, "grant select on schema_migrations to pg_monitor")
    with connect(target, purpose="test") as connection:
        pin_for_bookkeeping(connection)
        connection.execute("set role pg_monitor")
        with pytest.raises(TargetError, match="the role lacks a right") as caught:
            convert(connection, settings, FILES, TOKENS)
    assert "must be owner of table schema_migrations" in caught.value.detail


def test_an_older_table_is_told_from_others(target: Target, settings: Settings) -> None:
    with connect(target, purpose="test") as connection:
        assert not history.is_older(connection, settings)
        older_table(target, "more columns")
        assert history.is_older(connection, settings)
        assert [row.filename for row in read_older(connection, settings)] == [f"{INIT}.sql"]
        query(target, "alter table schema_migrations add checksum text")
        assert not history.is_older(connection, settings)


def test_an_older_table_with_a_trigger_is_refused(target: Target, settings: Settings) -> None:
    older_table(target, "plain")
    query(target, "create rule r as on update to schema_migrations do instead nothing")
    with (
        connect(target, purpose="test") as connection,
        pytest.raises(HistoryError, match="is no plain table"),
    ):
        history.is_older(connection, settings)
