"""A transactional file: each guard behind the grammar stops what the others let through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from headwater.errors import LockBusy, MigrationFailed
from headwater.files.accepted import Accepted
from headwater.model import Event, Finished, Migration, Started, Target
from headwater.postgres import run as runner
from headwater.postgres import transaction
from headwater.postgres.lock import migration_lock
from headwater.postgres.run import migrate
from headwater.settings import Settings
from tests.support import accepted_unread, folder_with, migrated, query, recorded, tables

ENDS = "create schema if not exists app; {}; create table app.b ();"


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file pass the grammar's refusals, to meet the guards behind them."""
    monkeypatch.setattr(runner, "accept", accepted_unread)


def require_refused(target: Target, settings: Settings, control: str) -> None:
    with pytest.raises(MigrationFailed, match="ended the transaction it ran in"):
        migrated(target, settings, {"0001_a.sql": ENDS.format(control)})
    assert recorded(target, settings) == []


def test_another_transaction_of_the_same_kind_lacks_our_savepoint(
    target: Target, settings: Settings, unread: None
) -> None:
    require_refused(target, settings, "commit; begin deferrable")


def test_no_file_knows_the_name_of_our_savepoint(
    target: Target, settings: Settings, unread: None
) -> None:
    names = {transaction.savepoint_name() for _ in range(100)}
    assert len(names) == 100
    name = min(names).decode()
    require_refused(target, settings, f"commit; begin deferrable; savepoint {name}")


def test_another_transaction_with_our_savepoint_lacks_our_mark(
    target: Target, settings: Settings, unread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "savepoint_name", lambda: b"known")
    require_refused(target, settings, "commit; begin; savepoint known")


def test_the_server_must_find_as_many_statements_as_the_grammar(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_missed(migrations: Iterable[Migration]) -> tuple[Accepted, ...]:
        return tuple(Accepted(migration=m, statements=1) for m in migrations)

    monkeypatch.setattr(runner, "accept", one_missed)
    files = {"0001_a.sql": "create schema app; create table app.b ();"}
    with pytest.raises(MigrationFailed, match="the server ran 2 statements, and the file holds 1"):
        migrated(target, settings, files)
    assert recorded(target, settings) == []
    assert tables(target) == []


def test_a_file_does_not_begin_when_the_lock_was_lost_behind_the_one_before(
    target: Target, settings: Settings
) -> None:
    folder = folder_with(settings, {"0001_a.sql": "create schema app;", "0002_b.sql": "select 1;"})
    begun: list[str] = []

    def lose(event: Event) -> None:
        if isinstance(event, Started):
            begun.append(event.version)
        if isinstance(event, Finished):
            query(
                target,
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where "
                "application_name = 'headwater lock' and datname = current_database()",
            )

    with pytest.raises(LockBusy, match="another runner may have begun"):
        migrate(target, folder, settings, notify=lose)
    assert begun == ["0001_a"]


def test_what_another_runner_did_while_we_waited_is_seen(
    target: Target, settings: Settings
) -> None:
    folder = folder_with(settings, {"0001_a.sql": "create schema app; create table app.once ();"})
    waited: list[Event] = []

    with migration_lock(target, settings) as held:

        def finish_the_other(event: Event) -> None:
            if not waited:
                assert len(migrate(target, folder, settings, locked=True).results) == 1
                held.close()
            waited.append(event)

        assert migrate(target, folder, settings, notify=finish_the_other).results == ()
    assert waited
    assert recorded(target, settings) == ["0001_a"]


def test_a_row_that_the_lock_timeout_keeps_from_us_is_given_up(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = replace(transaction.PATIENCE, attempts=2, first_pause_s=0.01)
    monkeypatch.setattr(transaction, "PATIENCE", patience)
    first = {"0001_a.sql": "create schema app; create table app.t ();"}
    migrated(target, settings, first)
    with migration_lock(target, replace(settings, lock_key=1)) as other, other.transaction():
        other.execute("lock table app.t")
        with pytest.raises(LockBusy, match="2 times"):
            migrated(
                target,
                replace(settings, lock_timeout_ms=50),
                first | {"0002_b.sql": "alter table app.t add i int;"},
            )
