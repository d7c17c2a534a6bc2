"""What a session must be able to do: asked before anything is touched."""

from __future__ import annotations

import pytest

from headwater.errors import TargetError
from headwater.model import Target
from headwater.postgres.run import migrate
from headwater.settings import Settings
from tests.support import folder_with, query, value


@pytest.mark.parametrize(
    ("name", "setting", "says"),
    [
        ("default_transaction_read_only", "on", "is read-only: default_transaction_read_only"),
        ("session_replication_role", "replica", "triggers and foreign keys would not fire"),
    ],
)
def test_a_session_that_could_not_do_its_work_is_refused_untouched(
    target: Target, settings: Settings, name: str, setting: str, says: str
) -> None:
    query(target, f"alter database {target.database} set {name} = '{setting}'")
    folder = folder_with(settings, {"0001_init.sql": "create schema app;"})
    with pytest.raises(TargetError, match=says) as caught:
        migrate(target, folder, settings)
    assert "nothing was touched" in caught.value.detail
    assert value(target, "select to_regclass('schema_migrations') is null")


def test_a_schema_for_the_history_that_is_missing_is_told(
    target: Target, settings: Settings
) -> None:
    query(target, "drop schema public")
    folder = folder_with(settings, {"0001_init.sql": "create schema app;"})
    with pytest.raises(TargetError, match="the schema public, which should hold the history"):
        migrate(target, folder, settings)
    assert value(target, "select to_regnamespace('app') is null")
