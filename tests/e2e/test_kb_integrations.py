"""Connections of a project to other systems, and how far an import has come."""

from __future__ import annotations

from uuid import uuid4

from psycopg.errors import UniqueViolation

from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.e2e.helpers import (
    Connection,
    again,
    change,
    delete,
    gone,
    refused,
    working_in,
)
from tests.e2e.rules import Rule, Unique

TABLES = ("kb.integrations", "kb.clickup_sync_state")
RULES: tuple[Rule, ...] = (
    Unique(
        table="kb.integrations",
        constraint="integrations_name_project_id_key",
        columns=("name", "project_id"),
    ),
    Unique(
        table="kb.clickup_sync_state",
        constraint="clickup_sync_state_integration_id_key",
        columns=("integration_id",),
    ),
)


def test_an_integration_is_off_until_it_is_switched_on(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        row = make.integration(project=project, settings_encrypted=b"\x00\xff")
        assert (row.enabled, row.settings_encrypted) == (False, b"\x00\xff")
        assert change(db, row, enabled=True).updated_at > row.updated_at


def test_the_state_of_an_import_is_kept_once(db: Connection, make: Factories, project: Row) -> None:
    with working_in(db, project):
        integration = make.integration(project=project, name="clickup")
        state = make.clickup_sync_state(
            integration=integration, workspace_cursor={"w1": "c1"}, last_error="timeout"
        )
        assert (state.total_synced_tasks, state.consecutive_failures) == (0, 0)
        with refused(db, UniqueViolation, "clickup_sync_state_integration_id_key"):
            make.clickup_sync_state(integration=integration)
        upserted = db.execute(
            "insert into kb.clickup_sync_state (integration_id, total_synced_tasks) values (%s, 5) "
            "on conflict (integration_id) do update set total_synced_tasks = "
            "clickup_sync_state.total_synced_tasks + excluded.total_synced_tasks returning id",
            [integration.id],
        )
        assert upserted.fetchone() == (state.id,)
        assert again(db, state).total_synced_tasks == 5
        delete(db, integration)
        assert gone(db, state)


def test_the_job_that_imports_may_be_cleaned_up(
    db: Connection, make: Factories, project: Row
) -> None:
    """It has no foreign key, on purpose: jobs are cleaned up without asking here."""
    with working_in(db, project):
        job = make.extraction_job(project=project)
        integration = make.integration(project=project)
        state = make.clickup_sync_state(integration=integration, active_import_job_id=job.id)
        delete(db, job)
        assert again(db, state).active_import_job_id == job.id
        change(db, state, active_import_job_id=uuid4())
