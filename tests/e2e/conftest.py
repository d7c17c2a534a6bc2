"""Fixtures of the end-to-end suite; those of the databases are provisional."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from typing import Any

import psycopg
import pytest

from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.kb_facts import keys_of

Connection = psycopg.Connection[Any]
DatabaseMaker = Callable[[], AbstractContextManager[str]]

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


class Database:
    """A database for one test."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self, **kwargs: Any) -> Connection:
        return psycopg.connect(self.url, **{"autocommit": True, **kwargs})


@pytest.fixture
def database(reference_database: DatabaseMaker) -> Generator[Database]:
    with reference_database() as url:
        yield Database(url)


@pytest.fixture
def database_url(database: Database) -> str:
    return database.url


@pytest.fixture
def connection(database: Database) -> Generator[Connection]:
    with closing(database.connect()) as connection:
        yield connection


@pytest.fixture(scope="session")
def _shared(reference_database: DatabaseMaker) -> Generator[Connection]:
    with reference_database() as url, closing(psycopg.connect(url, autocommit=True)) as connection:
        yield connection


@pytest.fixture
def rolled_back_connection(_shared: Connection) -> Generator[Connection]:
    with _shared.transaction(force_rollback=True):
        yield _shared


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
