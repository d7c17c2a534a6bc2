"""What a statement outside of a transaction leaves: it is found, and ours alone is removed."""

from __future__ import annotations

import threading

import psycopg
import pytest

from headwater.errors import HeadwaterError, MigrationFailed
from headwater.model import Target
from headwater.postgres.connect import connect, pin_for_bookkeeping
from headwater.postgres.effects import Effect, find_effect, note_before
from headwater.settings import Settings
from tests.support import accepted_text, migrated, query, recorded, session, until, value

NO_TRANSACTION = "-- headwater: no-transaction\n"
BASE = {
    "0001_init.sql": "create schema app; create table app.t (i int);"
    "insert into app.t values (1), (1);"
    "create table app.p (i int) partition by list (i);"
    "create table app.p1 partition of app.p for values in (1);"
}
UNIQUE = "create unique index concurrently t_i on app.t (i);"


def indexes(target: Target) -> list[tuple[str, bool]]:
    """Give the indexes of the schema, and whether each is valid."""
    return [
        (name, valid)
        for name, valid in query(
            target,
            "select c.relname, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid"
            " where c.relnamespace = 'app'::regnamespace order by 1",
        )
    ]


def leave_an_invalid_index(target: Target, name: str) -> None:
    """Fail to build an index, as somebody else."""
    with pytest.raises(psycopg.errors.UniqueViolation):
        query(target, f"create unique index concurrently {name} on app.t (i)")


def failure_of(target: Target, settings: Settings, statement: str) -> HeadwaterError:
    with pytest.raises(HeadwaterError) as caught:
        migrated(target, settings, BASE | {"0002_n.sql": NO_TRANSACTION + statement})
    return caught.value


def test_a_failed_build_is_dropped_and_succeeds_when_the_data_are_mended(
    target: Target, settings: Settings
) -> None:
    error = failure_of(target, settings, UNIQUE)
    assert isinstance(error, MigrationFailed)
    assert error.exit_code == 3
    assert 'ran DROP INDEX CONCURRENTLY "app"."t_i"' in error.detail
    assert indexes(target) == []
    query(target, "delete from app.t where ctid = '(0,1)'")
    assert migrated(target, settings, BASE | {"0002_n.sql": NO_TRANSACTION + UNIQUE}) == ["0002_n"]
    assert indexes(target) == [("t_i", True)]


@pytest.mark.parametrize("name", ["t_i", "another"])
def test_an_invalid_index_of_somebody_else_is_never_dropped(
    target: Target, settings: Settings, name: str
) -> None:
    migrated(target, settings, BASE)
    leave_an_invalid_index(target, name)
    failure_of(target, settings, UNIQUE)
    assert indexes(target) == [(name, False)]
    assert recorded(target, settings) == ["0001_init"]


WAITING = (
    "select pid from pg_stat_activity where datname = current_database() "
    "and wait_event_type = 'Lock' and application_name = 'headwater migrate'"
)


def interrupted(target: Target, settings: Settings, statement: str, by: str) -> HeadwaterError:
    """Run a statement behind somebody's transaction, and end it there by a function."""
    errors: list[HeadwaterError] = []
    with session(target) as other:
        other.execute("lock table app.t, app.p, app.p1 in row exclusive mode")
        run = threading.Thread(
            target=lambda: errors.append(failure_of(target, settings, statement))
        )
        run.start()
        until(lambda: query(target, WAITING), "the wait")
        query(target, f"select {by}(pid) from ({WAITING}) w")
        other.rollback()
        run.join(20)
    return errors[0]


def test_a_detach_that_is_interrupted_is_ended(target: Target, settings: Settings) -> None:
    migrated(target, settings, BASE)
    detach = "alter table app.p detach partition app.p1 concurrently;"
    error = interrupted(target, settings, detach, "pg_terminate_backend")
    assert "it was done" in error.detail
    assert value(target, "select count(*) from pg_inherits") == 0
    assert migrated(target, settings, BASE | {"0002_n.sql": NO_TRANSACTION + detach}) == ["0002_n"]


def test_the_copies_of_a_reindex_that_is_interrupted_are_dropped(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, BASE)
    query(target, "create index t_i on app.t (i)")
    reindex = "reindex index concurrently app.t_i;"
    error = interrupted(target, settings, reindex, "pg_cancel_backend")
    assert "_ccnew" in error.detail
    assert indexes(target) == [("t_i", True)]
    assert migrated(target, settings, BASE | {"0002_n.sql": NO_TRANSACTION + reindex}) == ["0002_n"]


FOUND = {
    "create index concurrently t_i on app.t (i)": (Effect.NOT_DONE, Effect.DONE),
    "create index concurrently on app.t (i)": (Effect.NOT_DONE, Effect.DONE),
    "drop index concurrently app.there": (Effect.NOT_DONE, Effect.DONE),
    "alter table app.p detach partition app.p1 concurrently": (Effect.NOT_DONE, Effect.DONE),
    # Running these again is running them once.
    "vacuum app.t": (Effect.NOT_DONE, Effect.NOT_DONE),
    "reindex index concurrently app.there": (Effect.NOT_DONE, Effect.NOT_DONE),
    # A block may have done anything.
    "do $$ begin commit; end $$": (Effect.UNKNOWN, Effect.UNKNOWN),
}


def test_what_has_become_of_a_statement_is_found(target: Target, settings: Settings) -> None:
    migrated(target, settings, BASE)
    with connect(target, purpose="test") as book, connect(target, purpose="test") as ours:
        pin_for_bookkeeping(book)
        for text, (undone, done) in FOUND.items():
            query(target, "drop index if exists app.t_i, app.there, app.t_i_idx")
            query(target, "create index there on app.t (i)")
            [statement] = accepted_text(text).script.statements
            before = note_before(ours, book, statement)
            assert find_effect(book, before).effect is undone, text
            query(target, text)
            assert find_effect(book, before).effect is done, text
        assert find_effect(book, None).effect is Effect.UNKNOWN


def test_a_database_that_is_made_or_dropped_is_found(target: Target) -> None:
    name = f"{target.database}_made"
    with connect(target, purpose="test") as book:
        pin_for_bookkeeping(book)
        for text in (f"create database {name} template template0", f"drop database {name}"):
            [statement] = accepted_text(text).script.statements
            before = note_before(book, book, statement)
            assert find_effect(book, before).effect is Effect.NOT_DONE
            query(target, text)
            assert find_effect(book, before).effect is Effect.DONE
