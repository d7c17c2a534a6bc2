"""Factories: a row of every table, with its parents, whoever the connection is."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.testing.context import as_application
from headwater.testing.rows import Row
from tests.e2e.factories import METHODS, Factories
from tests.e2e.helpers import Connection, count


@pytest.mark.parametrize("table", METHODS)
def test_a_factory_needs_no_argument_and_makes_one_row(
    db: Connection, make: Factories, table: str
) -> None:
    before = count(db, table)
    row, other = make.one(table), make.one(table)
    assert row._table == table
    assert row != other
    assert count(db, table) == before + 2


@pytest.mark.parametrize(
    ("method", "parent", "of"),
    [
        ("document", "parent_document", "document"),
        ("graph_object", "branch", "branch"),
        ("graph_relationship", "branch", "branch"),
        ("graph_relationship", "src", "graph_object"),
        ("branch", "parent_branch", "branch"),
        ("product_version", "base_product_version", "product_version"),
        ("tag", "product_version", "product_version"),
        ("tool_call", "conversation", "conversation"),
        ("invite", "project", "project"),
        ("document", "project", "project"),
    ],
)
def test_tenant_columns_follow_the_parent_that_is_given(
    make: Factories, method: str, parent: str, of: str
) -> None:
    made = getattr(make, of)()
    for given in ({parent: made}, {parent: made.id}, {f"{parent}_id": made.id}):
        row = getattr(make, method)(**given)
        project = made.id if of == "project" else made.project_id
        assert (row.organization_id, row.project_id) == (made.organization_id, project)


def test_a_lineage_is_of_two_branches_of_one_project(make: Factories, db: Connection) -> None:
    branch = make.branch()
    for given in ({}, {"branch": branch}, {"ancestor_branch_id": branch.id}):
        line = make.branch_lineage(**given)
        projects = db.execute(
            "select count(distinct project_id) from kb.branches where id in (%s, %s)",
            [line.branch_id, line.ancestor_branch_id],
        )
        assert projects.fetchone() == (1,)


def test_a_tenant_may_be_an_organization_alone(make: Factories, project: Row) -> None:
    organization: Any = {"organization": project.organization_id}
    assert make.conversation(**organization).project_id is None
    assert make.conversation(project=None).organization_id
    assert make.document(**organization).organization_id == project.organization_id


def test_a_factory_is_the_application_inside_its_block(
    db: Connection, make: Factories, project: Row
) -> None:
    with as_application(db, organization=project.organization_id):
        row = make.document(project=project.id)
        assert row.organization_id == project.organization_id
    with as_application(db, organization=None), pytest.raises(LookupError, match="or it is hidden"):
        make.document(project=project.id)
