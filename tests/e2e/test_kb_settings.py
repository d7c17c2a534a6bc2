"""Settings: for everyone, for an organization, for a project."""

from __future__ import annotations

import pytest
from psycopg.errors import InsufficientPrivilege, UniqueViolation

from headwater.testing.context import as_application
from headwater.testing.rows import Row, insert
from tests.e2e.factories import Factories
from tests.e2e.helpers import (
    Connection,
    again,
    change,
    count,
    one,
    refused,
    working_in,
)
from tests.e2e.rules import Rule, Unique, Values

TABLES = ("kb.settings",)
RULES: tuple[Rule, ...] = (
    # A key with a null in it is not checked: a project alone could be anyone's.
    Values(
        table="kb.settings",
        constraint="settings_project_needs_organization_check",
        takes=({}, {"project": None}, {"project": None, "organization": None}),
        refuses=({"organization": None},),
        by_owner=True,  # as a policy refuses it to the application before
    ),
    Unique(
        table="kb.settings",
        constraint="settings_organization_id_project_id_key_key",
        columns=("project_id", "key"),
    ),
)


@pytest.mark.parametrize("level", ["everyone", "organization", "project"])
def test_a_setting_has_one_value_on_each_level(
    db: Connection, make: Factories, project: Row, level: str
) -> None:
    """Nulls count as equal."""
    places = {
        "everyone": {"organization": None, "project": None},
        "organization": {"organization": project.organization_id, "project": None},
        "project": {"project": project},
    }
    for place in places.values():
        make.setting(key="theme", **place)
    with refused(db, UniqueViolation, "settings_organization_id_project_id_key_key"):
        make.setting(key="theme", **places[level])


def test_the_nearest_setting_wins(
    db: Connection, make: Factories, project: Row, elsewhere: Row, stranger: Row
) -> None:
    make.setting(organization=None, project=None, key="theme", value={"of": "everyone"})
    make.setting(
        organization=project.organization_id, key="theme", value={"of": "the organization"}
    )
    make.setting(project=project, key="theme", value={"of": "the project"})
    nearest = (
        "select value from kb.settings where key = 'theme' "
        "order by project_id nulls last, organization_id nulls last limit 1"
    )
    for place, value in (
        (project, "the project"),
        (elsewhere, "the organization"),
        (stranger, "everyone"),
    ):
        with working_in(db, place):
            assert one(db, nearest) == {"of": value}


def test_a_global_setting_is_read_by_all_and_written_by_none(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    row = make.setting(organization=None, project=None, key="theme", value=1)
    for organization in (None, project.organization_id, stranger.organization_id):
        with as_application(db, organization=organization):
            assert again(db, row) == row
            changed = db.execute("update kb.settings set value = '2' where key = 'theme'")
            removed = db.execute("delete from kb.settings where key = 'theme'")
            assert (changed.rowcount, removed.rowcount) == (0, 0)
            with refused(db, InsufficientPrivilege):
                insert(db, "kb.settings", key="mine")
    own = make.setting(project=project)
    with refused(db, InsufficientPrivilege), working_in(db, project):
        change(db, own, organization_id=None, project_id=None)


def test_a_value_is_any_json(db: Connection, make: Factories, project: Row) -> None:
    with working_in(db, project):
        values: tuple[object, ...] = ({"a": [1, None]}, [], 3, True)
        for value in values:
            assert make.setting(project=project, value=value).value == value
        assert make.setting(project=project).value == {}
        assert count(db, "kb.settings") == 5
