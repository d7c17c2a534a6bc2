"""Fixtures of the end-to-end suite, over those of the plugin."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from headwater.testing.rows import Row
from tests.e2e.factories import Factories

Connection = psycopg.Connection[Any]

pytest.register_assert_rewrite("tests.e2e.rules", "tests.e2e.helpers")


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
