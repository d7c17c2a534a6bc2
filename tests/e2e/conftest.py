"""Fixtures of the end-to-end suite, over those of the plugin."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.kb_facts import keys_of

Connection = psycopg.Connection[Any]

pytest.register_assert_rewrite("tests.e2e.contract", "tests.e2e.helpers")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of `contract.py` over what the file of an area names."""
    tables: tuple[str, ...] = getattr(metafunc.module, "TABLES", ())
    if "area_table" in metafunc.fixturenames:
        metafunc.parametrize("area_table", tables)
    if "area_rule" in metafunc.fixturenames:
        metafunc.parametrize("area_rule", metafunc.module.RULES, ids=str)
    if "area_key" in metafunc.fixturenames:
        keys = [(table, column) for table in tables for column in keys_of(table)]
        metafunc.parametrize("area_key", keys, ids=".".join)


@pytest.fixture
def db(rolled_back_connection: Connection) -> Connection:
    """A session of the owner; all it does is rolled back."""
    return rolled_back_connection


@pytest.fixture
def make(db: Connection) -> Factories:
    return Factories(db)


@pytest.fixture
def project(make: Factories) -> Row:
    """A project of an organization, both new."""
    return make.project()


@pytest.fixture
def elsewhere(make: Factories, project: Row) -> Row:
    """Another project of the same organization."""
    return make.project(organization=project.organization_id)


@pytest.fixture
def stranger(make: Factories) -> Row:
    """A project of another organization."""
    return make.project()
