"""Jobs that take objects out of sources, and jobs that discover types."""

from __future__ import annotations

from uuid import uuid4

from psycopg.errors import CheckViolation
from psycopg.types.json import Jsonb

from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.e2e.helpers import (
    Connection,
    again,
    change,
    count,
    delete,
    gone,
    refused,
    working_in,
)
from tests.e2e.rules import Rule, Values, closed_sets

TABLES = ("kb.object_extraction_jobs", "kb.discovery_jobs", "kb.discovery_type_candidates")
JOBS = "kb.object_extraction_jobs"
EARLY, LATE = "2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
RULES: tuple[Rule, ...] = (
    *closed_sets(*TABLES),
    Values(
        table=JOBS,
        constraint="object_extraction_jobs_items_not_negative_check",
        takes=({"total_items": 0}, {"total_items": 1}),
        refuses=(
            {"total_items": -1},
            {"failed_items": -1, "successful_items": 1},
            {"failed_items": 1, "successful_items": -1},
            {"processed_items": -1, "failed_items": -1},
        ),
    ),
    Values(
        table=JOBS,
        constraint="object_extraction_jobs_processed_items_check",
        takes=(
            {"processed_items": 3, "successful_items": 2, "failed_items": 1, "total_items": 4},
            {"processed_items": 3, "successful_items": 3},
        ),
        refuses=(
            {"processed_items": 2, "successful_items": 1},
            {"failed_items": 1},
            {"processed_items": 1},
        ),
    ),
    Values(
        table=JOBS,
        constraint="object_extraction_jobs_started_at_check",
        takes=({"started_at": LATE}, {"created_at": EARLY, "started_at": EARLY}),
        refuses=({"started_at": EARLY},),
    ),
    Values(
        table=JOBS,
        constraint="object_extraction_jobs_completed_at_check",
        takes=(
            {"started_at": LATE, "completed_at": LATE},
            {"completed_at": LATE, "status": "cancelled"},  # before it started
        ),
        refuses=(
            {"completed_at": EARLY},
            {"started_at": LATE, "completed_at": "2099-01-01T00:00:00Z"},
        ),
    ),
    Values(
        table="kb.discovery_type_candidates",
        constraint="discovery_type_candidates_confidence_check",
        takes=tuple({"confidence": number} for number in (0, 0.5, 1)),
        refuses=({"confidence": -0.1}, {"confidence": 1.1}),
    ),
)


def test_a_job_goes_from_pending_to_completed(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        document = make.document(project=project)
        job = make.extraction_job(project=project, source_type="document", source_id=document.id)
        assert (job.status, job.total_items, job.logs, job.created_objects) == (
            "pending",
            0,
            [],
            [],
        )
        job = change(db, job, status="running", started_at=LATE, total_items=2)
        job = change(db, job, processed_items=1, successful_items=1)
        with refused(db, CheckViolation, "processed_items_check"):
            change(db, job, failed_items=1)
        thing = make.graph_object(project=project)
        job = change(
            db,
            job,
            status="completed",
            completed_at=LATE,
            processed_items=2,
            failed_items=1,
            created_objects=Jsonb([str(thing.id)]),
        )
        assert job.created_objects == [str(thing.id)]
        with refused(db, CheckViolation, "completed_at_check"):
            change(db, job, completed_at=EARLY)


def test_a_source_may_be_anywhere(db: Connection, make: Factories, project: Row) -> None:
    """It has no foreign key: other sources live elsewhere, and a job outlives its document."""
    with working_in(db, project):
        document = make.document(project=project)
        job = make.extraction_job(project=project, source_type="document", source_id=document.id)
        make.extraction_job(project=project, source_type="api", source_id=uuid4())
        delete(db, document)
        assert again(db, job).source_id == document.id


def test_discovery_proposes_types_and_makes_a_pack_of_them(
    db: Connection, make: Factories, project: Row
) -> None:
    """The application proposes; a pack is written by the owner, and then named by the job."""
    with working_in(db, project):
        document = make.document(project=project)
        job = make.discovery_job(project=project)
        river, stream = (
            make.type_candidate(
                job=job, source_document_ids=[document.id], inferred_schema={"type": "object"}
            )
            for _ in range(2)
        )
        merged = make.type_candidate(job=job, merged_from=[river.id, stream.id], frequency=2)
        assert merged.merged_from == [river.id, stream.id]
        assert river.source_document_ids == [document.id]
        for candidate in (river, stream):
            change(db, candidate, status="merged")
        assert count(db, "kb.discovery_type_candidates", status="candidate") == 1
    pack = make.template_pack(source="discovered", discovery_job=job)
    with working_in(db, project):
        job = change(db, job, status="completed", template_pack_id=pack.id)
        assert again(db, pack).discovery_job_id == job.id


def test_a_pack_and_its_discovery_job_forget_each_other(
    db: Connection, make: Factories, project: Row
) -> None:
    job = make.discovery_job(project=project)
    pack = make.template_pack(source="discovered", discovery_job=job)
    candidate = make.type_candidate(job=job)
    change(db, job, template_pack_id=pack.id)
    with db.transaction(force_rollback=True):
        delete(db, pack)
        assert again(db, job).template_pack_id is None
    with working_in(db, project):
        delete(db, job)
    assert again(db, pack).discovery_job_id is None
    assert gone(db, candidate)
