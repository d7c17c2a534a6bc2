"""The seeds of this repository: a small organization that fills the reference schema."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import psycopg
from psycopg import conninfo

from headwater.files.seeds import read_seeds
from headwater.model import Target
from headwater.postgres.connect import with_database
from headwater.postgres.seeding import apply_seeds
from headwater.settings import Settings
from headwater.testing.context import as_application
from tests.conftest import ROOT
from tests.support import value

ORGANIZATION = "0a000000-0000-4000-8000-000000000001"
CRANES = "0b000000-0000-4000-8000-000000000001"

COUNTS = {
    "core.user_profiles": 3,
    "kb.projects": 2,
    "kb.documents": 3,
    "kb.chunks": 5,
    "kb.graph_objects": 4,
    "kb.graph_relationships": 3,
    "kb.chat_messages": 2,
    "kb.settings": 2,
    "kb.project_template_packs": 1,
}


def test_the_seeds_fill_the_reference_schema_and_may_run_again(
    server: Target,
    settings: Settings,
    reference_database: Callable[[], AbstractContextManager[str]],
) -> None:
    here = replace(settings, root=ROOT)
    seeds = read_seeds(here)
    assert seeds.findings == ()
    with reference_database() as url:
        target = with_database(server, str(conninfo.conninfo_to_dict(url)["dbname"]), "test")
        first = apply_seeds(target, seeds, here)
        assert [result.rows for result in first.results] == [15, 13, None]
        for _ in range(2):
            found = {table: value(target, f"select count(*) from {table}") for table in COUNTS}
            assert found == COUNTS
            second = apply_seeds(target, seeds, here)
            assert [result.rows for result in second.results] == [0, 0, None]
        assert value(target, "select count(*) from kb.chunks where embedding is null") == 0
        ends = "select count(*) from kb.graph_relationships r join kb.graph_objects s on s.id = "
        assert value(target, f"{ends} r.src_id join kb.graph_objects d on d.id = r.dst_id") == 3
        assert seen_by_the_application(target) == ["crane-7.md", "signals.md"]


def seen_by_the_application(target: Target) -> list[str]:
    """Give the documents that the application is shown: row security lets it see its own."""
    with (
        psycopg.connect(target.conninfo) as connection,
        as_application(connection, organization=ORGANIZATION, project=CRANES),
    ):
        return [
            name for (name,) in connection.execute("select filename from kb.documents order by 1")
        ]
