"""A test database: how it is entered, and what its comment tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import conninfo

from headwater.errors import Unreachable
from headwater.model import Target
from headwater.postgres.makers import this_process
from headwater.settings import Settings
from headwater.testing.databases import (
    Database,
    note_of_keeping,
    note_of_lending,
    note_of_making,
    notes_in,
)
from headwater.testing.project import project_with
from tests.support import folder_with, recorded, tables

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def database(target: Target, settings: Settings) -> Database:
    folder_with(
        settings,
        {
            "0001_a.sql": "create schema app; create table app.a ();",
            "0002_b.sql": "create table app.b ();",
        },
    )
    return Database(target=target, project=project_with(settings))


# --- entering ---------------------------------------------------------------------------------


def test_a_connection_commits_each_statement_unless_told_otherwise(database: Database) -> None:
    with database.connect() as connection:
        assert connection.autocommit
        [name] = (
            connection.execute(
                "select application_name from pg_stat_activity where pid = pg_backend_pid()"
            ).fetchone()
            or ()
        )
        assert name == "headwater test"
    with database.connect(autocommit=False, application_name="mine") as connection:
        assert not connection.autocommit
        assert connection.execute("show application_name").fetchone() == ("mine",)


def test_what_was_exported_for_another_server_does_not_reach_the_private_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database.target.private:
        pytest.skip("the tests' server is named by TEST_DATABASE_URL")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    with database.connect() as connection:
        assert connection.execute("show search_path").fetchone() != ("elsewhere",)


def test_a_named_server_is_entered_as_libpq_would(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    named = Target(
        **{
            name: getattr(database.target, name)
            for name in ("host", "port", "database", "user", "source", "conninfo")
        }
    )
    with Database(target=named, project=database.project).connect() as connection:
        assert connection.execute("show search_path").fetchone() == ("elsewhere",)


def test_the_url_opens_it_and_nothing_else_shows_the_password(database: Database) -> None:
    with psycopg.connect(database.url) as connection:
        assert connection.info.dbname == database.name
    password = psycopg.conninfo.conninfo_to_dict(database.url).get("password")
    assert not password or str(password) not in repr(database)


def test_migrations_are_applied_up_to_a_version_and_then_to_the_end(database: Database) -> None:
    done = database.migrate(to="0001_a")
    assert [result.version for result in done.results] == ["0001_a"]
    assert tables(database.target) == ["a"]
    database.migrate()
    assert recorded(database.target, database.project.settings) == ["0001_a", "0002_b"]


# --- notes ------------------------------------------------------------------------------------


def test_what_is_noted_is_read_back() -> None:
    now = datetime.now(UTC)
    until = NOW + timedelta(hours=4)
    comment = "\n".join(
        [
            "somebody's own line",
            note_of_making(),
            note_of_keeping("tests/test_a.py::test_a[x y]"),
            note_of_lending(until, this_process()),
        ]
    )
    notes = notes_in(comment)
    assert notes.kept_at is not None
    assert abs(notes.kept_at - now) < timedelta(minutes=1)
    assert notes.lent_until == until
    assert notes.borrower == this_process()


def test_what_is_lent_to_nobody_has_no_borrower() -> None:
    notes = notes_in(note_of_lending(NOW, None))
    assert (notes.lent_until, notes.borrower) == (NOW, None)


@pytest.mark.parametrize("comment", [None, "", "a comment", "headwater: disposable"])
def test_a_comment_without_notes_says_nothing(comment: str | None) -> None:
    notes = notes_in(comment)
    assert (notes.kept_at, notes.lent_until, notes.borrower) == (None, None, None)


@pytest.mark.parametrize(
    "line",
    [
        "headwater: kept at yesterday for a test",
        "headwater: kept at 2026-02-30T00:00:00 for a test",
        "headwater: kept at 0001-01-01T00:00:00+23:59 for a test",
        "headwater: kept at 9999-12-31T23:59:59-23:59 for a test",
        "headwater: kept at 2026-01-01T00:00:00+00:00",
        "see headwater: kept at 2026-01-01T00:00:00+00:00 for a test",
        "headwater: lent until for ever",
        "headwater: lent until 2026-01-01T00:00:00+00:00 to process 1 and more",
    ],
)
def test_what_cannot_be_read_counts_as_not_said(line: str) -> None:
    notes = notes_in(f"before\n{line}\nafter")
    assert (notes.kept_at, notes.lent_until, notes.borrower) == (None, None, None)


def test_a_borrower_that_cannot_be_read_leaves_the_time() -> None:
    notes = notes_in("headwater: lent until 2026-01-01T00:00:00+00:00 to process somebody")
    assert notes.lent_until is not None
    assert notes.borrower is None


def test_a_tests_name_can_write_no_line_of_its_own() -> None:
    why = "test_a[\nheadwater: lent until 2999-01-01T00:00:00+00:00\x00\u2028\udcff é]"
    note = note_of_keeping(why)
    assert len(note.splitlines()) == 1
    assert note.isascii()
    assert "\0" not in note
    assert notes_in(note).lent_until is None


def test_no_report_shows_the_password(database: Database) -> None:
    """Of a URL pytest shows the repr; of a connection that fails, the arguments of each frame."""
    password = str(conninfo.conninfo_to_dict(database.target.conninfo)["password"])
    assert password in database.url
    assert password not in repr(database.url)
    nowhere = replace(
        database,
        target=replace(
            database.target,
            conninfo=conninfo.make_conninfo(database.target.conninfo, dbname="nowhere"),
        ),
    )
    with pytest.raises(Unreachable) as caught:
        nowhere.connect()
    assert password not in str(caught.getrepr(style="long", showlocals=False))
