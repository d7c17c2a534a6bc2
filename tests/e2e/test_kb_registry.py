"""The type registry and template packs."""

from __future__ import annotations

from uuid import uuid4

import pytest
from psycopg.errors import InsufficientPrivilege, RestrictViolation, UniqueViolation

from headwater.testing.context import as_application
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
from tests.e2e.rules import Rule, Unique, Values, closed_sets

TABLES = (
    "kb.object_type_schemas",
    "kb.relationship_type_schemas",
    "kb.graph_template_packs",
    "kb.project_template_packs",
    "kb.project_object_type_registry",
)
RULES: tuple[Rule, ...] = (
    *closed_sets("kb.graph_template_packs", "kb.project_object_type_registry"),
    Values(
        table="kb.project_object_type_registry",
        constraint="project_object_type_registry_discovery_confidence_check",
        takes=tuple({"discovery_confidence": number} for number in (0, 0.5, 1, None)),
        refuses=({"discovery_confidence": -0.1}, {"discovery_confidence": 1.1}),
    ),
    Unique(
        table="kb.object_type_schemas",
        constraint="object_type_schemas_head_key",
        columns=("project_id", "type"),
        free=({"supersedes_id": uuid4()},),
    ),
    Unique(
        table="kb.relationship_type_schemas",
        constraint="relationship_type_schemas_head_key",
        columns=("project_id", "type"),
        free=({"supersedes_id": uuid4()},),
    ),
    Unique(
        table="kb.graph_template_packs",
        constraint="graph_template_packs_name_version_key",
        columns=("name", "version"),
    ),
    Unique(
        table="kb.project_template_packs",
        constraint="project_template_packs_project_id_template_pack_id_key",
        columns=("project_id", "template_pack_id"),
    ),
    Unique(
        table="kb.project_object_type_registry",
        constraint="project_object_type_registry_project_id_type_name_key",
        columns=("project_id", "type_name"),
    ),
)


@pytest.mark.parametrize("kind", ["object_type_schema", "relationship_type_schema"])
def test_a_type_has_one_head_in_its_project(
    db: Connection, make: Factories, project: Row, kind: str
) -> None:
    method = getattr(make, kind)
    with working_in(db, project):
        first = method(project=project, json_schema={"type": "object"})
        second_id = uuid4()
        change(db, first, supersedes_id=second_id)
        second = method(id=second_id, project=project, type=first.type, version=2)
        with refused(db, UniqueViolation, "_head_key"):
            change(db, first, supersedes_id=None)
        assert [again(db, row).supersedes_id for row in (first, second)] == [second_id, None]


# Packs


@pytest.mark.parametrize("source", ["manual", "imported", "system"])
def test_a_pack_that_was_not_discovered_is_read_by_all_and_written_by_none(
    db: Connection, make: Factories, project: Row, source: str
) -> None:
    pack = make.template_pack(source=source)
    for organization in (project.organization_id, None):
        with as_application(db, organization=organization):
            assert again(db, pack) == pack
            with refused(db, InsufficientPrivilege):
                change(db, pack, description="mine")
            with refused(db, InsufficientPrivilege):
                make.template_pack()
            with refused(db, InsufficientPrivilege):
                delete(db, pack)


def test_a_discovered_pack_is_seen_with_its_job_and_without_one_by_nobody(
    db: Connection, make: Factories, project: Row, elsewhere: Row, stranger: Row
) -> None:
    job = make.discovery_job(project=project)
    pack = make.template_pack(source="discovered", discovery_job=job)
    lost = make.template_pack(source="discovered")
    for place, sees in ((project, True), (elsewhere, False), (stranger, False)):
        with working_in(db, place):
            assert gone(db, pack) is not sees
            assert gone(db, lost)
    delete(db, job)
    with working_in(db, project):
        assert gone(db, pack)
    assert again(db, pack).discovery_job_id is None


def test_a_pack_for_everyone_is_installed_and_registered(
    db: Connection, make: Factories, project: Row
) -> None:
    pack = make.template_pack()
    with working_in(db, project):
        make.project_template_pack(project=project, template_pack=pack)
        make.registered_type(project=project, template_pack=pack, source="template")
        change(db, make.discovery_job(project=project), template_pack_id=pack.id)


def test_a_pack_that_is_not_seen_is_not_named(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    """Packs have no organization, so that foreign keys cannot say it."""
    hidden = make.template_pack(
        source="discovered", discovery_job=make.discovery_job(project=stranger)
    )
    with working_in(db, project):
        for method in (make.project_template_pack, make.registered_type, make.discovery_job):
            with refused(db, InsufficientPrivilege):
                method(project=project, template_pack=hidden)


def test_an_installed_pack_cannot_be_deleted(db: Connection, make: Factories, project: Row) -> None:
    pack = make.template_pack()
    installed = make.project_template_pack(project=project, template_pack=pack)
    with refused(db, RestrictViolation, "project_template_packs_template_pack_fkey"):
        delete(db, pack)
    with working_in(db, project):
        delete(db, installed)
    delete(db, pack)


def test_a_pack_that_supersedes_another_may_go(db: Connection, make: Factories) -> None:
    new = make.template_pack()
    old = make.template_pack(superseded_by=new)
    registered = make.registered_type(template_pack=new, source="template")
    delete(db, new)
    assert again(db, old).superseded_by is None
    assert again(db, registered).template_pack_id is None


def test_the_registry_says_where_a_type_comes_from(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        row = make.registered_type(
            project=project, source="discovered", discovery_confidence=0.75, ui_config={"icon": "x"}
        )
        assert (row.enabled, row.schema_version, row.extraction_config) == (True, 1, {})
        assert change(db, row, enabled=False).updated_at > row.updated_at
        assert count(db, "kb.project_object_type_registry", enabled=True) == 0
