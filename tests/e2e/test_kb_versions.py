"""Branches and their descent, product versions, and what was merged from what."""

from __future__ import annotations

from uuid import uuid4

from psycopg.errors import ForeignKeyViolation, UniqueViolation

from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.e2e.helpers import (
    Connection,
    again,
    count,
    delete,
    gone,
    read,
    refused,
    working_in,
)
from tests.e2e.rules import Rule, Unique, Values, closed_sets

TABLES = (
    "kb.branches",
    "kb.branch_lineage",
    "kb.merge_provenance",
    "kb.product_versions",
    "kb.product_version_members",
)
RULES: tuple[Rule, ...] = (
    *closed_sets("kb.merge_provenance"),
    Values(
        table="kb.branch_lineage",
        constraint="branch_lineage_depth_check",
        takes=({"depth": 0}, {"depth": 7}),
        refuses=({"depth": -1},),
    ),
    Unique(
        table="kb.branches",
        constraint="branches_project_id_name_key",
        columns=("project_id", "name"),
    ),
    Unique(
        table="kb.product_versions",
        constraint="product_versions_project_id_name_key",
        columns=("project_id", "name"),
        folded=frozenset({"name"}),
    ),
)


def test_branches_differ_by_case_and_product_versions_do_not(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        make.branch(project=project, name="draft")
        make.branch(project=project, name="Draft")
        make.product_version(project=project, name="v1")
        with refused(db, UniqueViolation, "product_versions_project_id_name_key"):
            make.product_version(project=project, name="V1")


def test_a_parent_is_one_of_the_same_project_even_to_the_owner(
    db: Connection, make: Factories, project: Row, elsewhere: Row, stranger: Row
) -> None:
    for other in (elsewhere, stranger):
        with refused(db, ForeignKeyViolation, "branches_parent_fkey"):
            make.branch(project=project, parent_branch=make.branch(project=other))
        with refused(db, ForeignKeyViolation, "product_versions_base_fkey"):
            base = make.product_version(project=other)
            make.product_version(project=project, base_product_version=base)


def test_descent_is_read_without_recursion(db: Connection, make: Factories, project: Row) -> None:
    with working_in(db, project):
        main = make.branch(project=project)
        draft = make.branch(parent_branch=main)
        review = make.branch(parent_branch=draft)
        for branch, ancestors in (
            (main, [main]),
            (draft, [draft, main]),
            (review, [review, draft, main]),
        ):
            for depth, ancestor in enumerate(ancestors):
                make.branch_lineage(branch=branch, ancestor_branch=ancestor, depth=depth)
        found = db.execute(
            "select ancestor_branch_id from kb.branch_lineage where branch_id = %s order by depth",
            [review.id],
        )
        assert found.fetchall() == [(review.id,), (draft.id,), (main.id,)]
        delete(db, draft)
        assert again(db, review).parent_branch_id is None
        assert count(db, "kb.branch_lineage") == 3


def test_a_line_of_descent_is_there_once(db: Connection, make: Factories, project: Row) -> None:
    branch = make.branch(project=project)
    with working_in(db, project):
        line = make.branch_lineage(branch=branch)
        with refused(db, UniqueViolation, "branch_lineage_pkey"):
            make.branch_lineage(branch=branch, ancestor_branch=line.ancestor_branch_id, depth=2)


def test_a_line_of_descent_needs_both_ends(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    """Also for a row that is there already: either end hidden hides it."""
    ours, theirs = make.branch(project=project), make.branch(project=stranger)
    lines = [
        make.branch_lineage(branch=ours, ancestor_branch=theirs),
        make.branch_lineage(branch=theirs, ancestor_branch=ours),
    ]
    for place in (project, stranger):
        with working_in(db, place):
            assert all(gone(db, line) for line in lines)
    assert all(again(db, line) for line in lines)


# Product versions


def test_a_product_version_remembers_what_was(
    db: Connection, make: Factories, project: Row
) -> None:
    """Its members have no foreign key, on purpose: old versions of objects may be purged."""
    with working_in(db, project):
        version = make.product_version(project=project)
        thing = make.graph_object(project=project)
        member = make.product_version_member(
            product_version=version, object_canonical=thing, object_version=thing
        )
        with refused(db, UniqueViolation, "product_version_members_pkey"):
            make.product_version_member(
                product_version=version, object_canonical=thing, object_version=uuid4()
            )
        delete(db, thing)
        assert again(db, member).object_version_id == thing.id


def test_deleting_a_product_version_takes_its_tags_and_members_and_frees_what_followed(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        version = make.product_version(project=project)
        tag = make.tag(product_version=version)
        member = make.product_version_member(
            product_version=version, object_canonical=uuid4(), object_version=uuid4()
        )
        later = make.product_version(base_product_version=version)
        delete(db, version)
        assert gone(db, tag)
        assert gone(db, member)
        assert again(db, later).base_product_version_id is None


# Merges


def test_what_a_merge_came_from_is_seen_by_whoever_sees_the_merged_version(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    with working_in(db, project):
        merged, source, target = (make.graph_object(project=project) for _ in range(3))
        lines = [
            make.merge_provenance(child_version=merged, parent_version=parent, role=role)
            for parent, role in ((source, "source"), (target, "target"), (source, "base"))
        ]
        with refused(db, UniqueViolation, "merge_provenance_pkey"):
            make.merge_provenance(child_version=merged, parent_version=source, role="source")
        delete(db, source)  # the trail outlives purged versions
        assert all(again(db, line) for line in lines)
    with working_in(db, stranger):
        assert count(db, "kb.merge_provenance") == 0
    delete(db, merged)
    with working_in(db, project):
        assert count(db, "kb.merge_provenance") == 0
    assert len(read(db, "kb.merge_provenance", child_version_id=merged.id)) == 3
