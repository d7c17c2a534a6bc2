"""The journal: what it holds is read again, and what it does not keep is not taken for kept."""

from __future__ import annotations

import pytest

from headwater.errors import HalfDone
from headwater.model import Target
from headwater.postgres import journal
from headwater.postgres.connect import connect, pin_for_bookkeeping
from headwater.postgres.journal import Step
from headwater.settings import Settings
from tests.support import migrated, query, tables

INIT = {"0001_init.sql": "create schema app;"}
STARTED = Step(tokens="tok-1:a'b\\", state=journal.STARTED, before={"kind": "index", "n": ["'"]})
DONE = Step(tokens="tok-1:c", state=journal.DONE)


def test_what_is_written_is_read_and_forgotten(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    with connect(target, purpose="journal") as book:
        pin_for_bookkeeping(book)
        journal.write_step(book, settings, "0002_a", 1, STARTED)
        journal.write_step(book, settings, "0002_a", 2, STARTED)
        journal.write_step(book, settings, "0002_a", 2, DONE)
        journal.write_step(book, settings, "0003_b", 1, DONE)
        assert journal.read_steps(book, settings, "0002_a") == {1: STARTED, 2: DONE}
        journal.delete_step(book, settings, "0002_a", 1)
        assert journal.read_steps(book, settings, "0002_a") == {2: DONE}
        book.execute(journal.forget_steps(book, settings, "0002_a"))
        assert journal.read_steps(book, settings, "0002_a") == {}
        assert journal.read_steps(book, settings, "0003_b") == {1: DONE}


def test_a_journal_of_an_earlier_version_is_read_and_completed(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, INIT)
    query(target, "alter table schema_migrations_steps drop column before")
    query(target, "insert into schema_migrations_steps values ('0002_a', 1, 'tok-1:c', 'done')")
    with connect(target, purpose="journal") as book:
        pin_for_bookkeeping(book)
        assert journal.read_steps(book, settings, "0002_a") == {1: DONE}
        journal.complete_journal(book, settings)
        journal.write_step(book, settings, "0002_a", 2, STARTED)
        assert journal.read_steps(book, settings, "0002_a") == {1: DONE, 2: STARTED}


def test_a_statement_whose_line_is_not_kept_is_rolled_back(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, INIT)
    query(
        target,
        "create function f() returns trigger language plpgsql as 'begin return null; end';"
        "create trigger t before insert on schema_migrations_steps "
        "for each row execute function f()",
    )
    text = "-- headwater: no-transaction\ncreate table app.b ();"
    with pytest.raises(HalfDone, match="did not run in its transaction"):
        migrated(target, settings, INIT | {"0002_b.sql": text})
    assert tables(target) == []
