"""The parts of a proof: where it can be made, what it says, and what its failure looks like."""

from __future__ import annotations

import pytest

from headwater.checks.reading import grammar_of
from headwater.checks.rebuilding import (
    NoPlace,
    apply_files,
    drift_between,
    drift_line,
    failure_line,
    place_for,
    require_place,
    snapshot_of,
)
from headwater.checks.scratch import ScratchServer
from headwater.errors import HistoryError, MigrationFailed, TargetError, Unreachable
from headwater.files.directives import read_header
from headwater.model import Finding, Migration, MigrationFolder, Target
from headwater.postgres.connect import connect
from headwater.postgres.databases import locale_of, scratch_database
from headwater.schema.snapshot import Snapshot
from headwater.settings import Settings
from headwater.verdicts import Outcome
from tests.support import accepted_text, folder_with, migrated, query, tables

FIRST = {"20240101_first.sql": "create schema app; create table app.a (id int);"}
BOTH = FIRST | {"20240102_second.sql": "create table app.b ();"}


def built(
    folder: MigrationFolder, settings: Settings, scratch: Target, versions: list[str]
) -> Snapshot:
    apply_files(folder, settings, scratch, versions)
    with connect(scratch, purpose="test") as connection:
        return snapshot_of(connection, settings)


def test_only_the_versions_that_are_named_are_built_and_compared(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, FIRST)
    folder = folder_with(settings, BOTH)
    with connect(target, purpose="test") as connection:
        actual = snapshot_of(connection, settings)
        with scratch_database(target, locale=locale_of(connection)) as scratch:
            for versions, outcome in (
                (["20240101_first"], Outcome.OK),
                (["20240101_first", "20240102_second"], Outcome.FOUND),
            ):
                expected = built(folder, settings, scratch, versions)
                line = drift_between(expected, actual, scratch=lambda: scratch, settings=settings)
                assert line.outcome is outcome
            assert tables(scratch) == ["a", "b"]
    assert [change.object for change in line.changes] == ["table app.b"]


def test_a_difference_is_told_beside_what_could_not_be_read() -> None:
    told = drift_line((), unmanaged=("a", "b"), unreadable=frozenset({"pg_x.y", "pg_x.z"}))
    assert told.summary == (
        "the database is what the files build (not managed: a, b); "
        "a weaker proof: the role may not read all of pg_x"
    )


BEYOND = "-- headwater: no-transaction\ncreate database elsewhere;"


def test_files_that_reach_beyond_their_database_find_no_place(
    target: Target, settings: Settings
) -> None:
    beyond = Migration(version="0001_a", text=BEYOND, checksum="", directives=read_header(BEYOND))
    plain = accepted_text("select 1").migration
    with connect(target, purpose="test") as connection:
        here = place_for(connection, target, settings, grammar_of([plain]))
        nowhere = place_for(connection, target, settings, grammar_of([beyond]))
    assert isinstance(here, ScratchServer)
    assert require_place(here, "proving") is here
    assert isinstance(nowhere, NoPlace)
    assert [finding.file for finding in nowhere.findings] == ["0001_a.sql"]


def test_no_place_is_told_with_its_reason() -> None:
    nowhere = NoPlace("too far", (Finding(rule="x", message="reaches out", file="a.sql", line=3),))
    with pytest.raises(TargetError, match=r"^proving: not possible without a scratch") as caught:
        require_place(nowhere, "proving")
    assert caught.value.detail == "too far\na.sql:3: reaches out"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (HistoryError("files and history disagree"), Outcome.FAILED),
        (MigrationFailed("a.sql:1: no"), Outcome.FAILED),
        (Unreachable("gone"), Outcome.IMPOSSIBLE),
    ],
)
def test_a_failed_rebuild_says_whether_the_files_or_the_place_are_at_fault(
    error: HistoryError | MigrationFailed | Unreachable, outcome: Outcome
) -> None:
    assert failure_line(error).outcome is outcome


def test_a_catalogue_that_cannot_be_read_is_told(target: Target, settings: Settings) -> None:
    with connect(target, purpose="test") as connection:
        query(target, f"select pg_terminate_backend({connection.info.backend_pid}, 5000)")
        with pytest.raises(Unreachable, match="reading the catalogue: the connection was lost"):
            snapshot_of(connection, settings)
