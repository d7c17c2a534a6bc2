"""The catalogue layer: what is questionable, which of it is new, and where it is told of."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from headwater.checks.catalogue import Fact, Place, catalogue_facts, new_facts, new_findings
from headwater.checks.rules import EXAMPLE_SCHEMA, Rule
from headwater.checks.rules.catalogue import CATALOGUE
from headwater.model import Layer, Severity, Target
from headwater.postgres.connect import Connection, connect, pin

BY_ID = {rule.id: rule for rule in CATALOGUE}

every_rule = pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.id)


@pytest.fixture(scope="module")
def example_database(server: Target, fresh_database) -> Generator[Target]:
    raise NotImplementedError
