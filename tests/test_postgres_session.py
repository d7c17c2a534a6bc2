"""A session that is cleaned between two files: it is the same one, and nothing is left in it."""

from __future__ import annotations

import psycopg
import pytest

from headwater.model import Target
from headwater.settings import Settings
from tests.support import LEAK_SETUP, LEAKS, migrated, query

# Those that PostgreSQL's own commands undo, so that the session can stay.
UNDONE = (
    "role",
    "session authorization",
    "temporary table",
    "temporary view",
    "temporary type",
    "temporary function",
    "prepared statement",
    "advisory lock",
    "listen",
    "held cursor",
    "last value",
    "TimeZone",
    "search_path",
)


def seen_by_the_next(
    target: Target, settings: Settings, leaves: str, sees: str
) -> tuple[bool, bool]:
    """Run a file that leaves something; say if the next one sees it, and if the session stayed."""
    setup = "create schema app; create table app.seen (seen boolean, pid int);"
    look = "insert into app.seen values ({}, pg_backend_pid());"
    migrated(target, settings, {"0001_setup.sql": setup})
    files = {
        "0001_setup.sql": setup,
        "0002_leaves.sql": f"{look.format('null')} {leaves};",
        "0003_looks.sql": look.format(sees),
    }
    migrated(target, settings, files)
    [(_, first), (seen, second)] = query(target, "select seen, pid from app.seen order by seen")[
        ::-1
    ]
    return seen, first == second


def test_what_one_file_leaves_is_undone_in_the_session_that_the_next_one_has(
    target: Target, settings: Settings
) -> None:
    files = {"0000_setup.sql": LEAK_SETUP + "create table app.seen (leak text, seen bool, pid int)"}
    migrated(target, settings, files)
    for number, leak in enumerate(UNDONE):
        leaves, sees = LEAKS[leak]
        files[f"{2 * number + 1:04}_leaves{number}.sql"] = f"{leaves};"
        files[f"{2 * number + 2:04}_looks{number}.sql"] = (
            f"insert into app.seen values ('{leak}', {sees}, pg_backend_pid());"
        )
    migrated(target, settings, files)
    assert query(target, "select leak from app.seen where seen") == []
    assert query(target, "select count(*), count(distinct pid) from app.seen") == [(len(UNDONE), 1)]


def test_the_seed_of_one_file_is_not_that_of_the_next(target: Target, settings: Settings) -> None:
    with psycopg.connect(target.conninfo) as connection:
        connection.execute("select setseed(0.25)")
        row = connection.execute("select random()::text").fetchone()
    assert row
    leaves, sees = "select setseed(0.25)", f"random()::text = '{row[0]}'"
    assert seen_by_the_next(target, settings, leaves, sees) == (False, True)


@pytest.mark.parametrize(
    "leaves", ["set leak.x = '1'", "select set_config('leak.x', '1', false)"], ids=["set", "call"]
)
def test_behind_what_nothing_undoes_the_next_file_has_another_session(
    target: Target, settings: Settings, leaves: str
) -> None:
    sees = "current_setting('leak.x', true) is not null"
    assert seen_by_the_next(target, settings, leaves, sees) == (False, False)
