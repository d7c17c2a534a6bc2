"""People, organizations, projects, and who belongs to them."""

from __future__ import annotations

import pytest
from psycopg.errors import (
    ForeignKeyViolation,
    InsufficientPrivilege,
    UniqueViolation,
)

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
    read,
    refused,
    working_in,
)
from tests.e2e.rules import Rule, Unique, closed_sets

TABLES = (
    "core.user_profiles",
    "core.user_emails",
    "kb.orgs",
    "kb.projects",
    "kb.organization_memberships",
    "kb.project_memberships",
    "kb.invites",
)
RULES: tuple[Rule, ...] = (
    *closed_sets("kb.organization_memberships", "kb.project_memberships", "kb.invites"),
    Unique(
        table="core.user_profiles",
        constraint="user_profiles_zitadel_user_id_key",
        columns=("zitadel_user_id",),
    ),
    # A verified address belongs to one person; an unverified one may be claimed by several.
    Unique(
        table="core.user_emails",
        constraint="user_emails_verified_email_key",
        columns=("email",),
        folded=frozenset({"email"}),
        given=(("verified", True),),
        free=({"verified": False},),
    ),
    Unique(
        table="kb.orgs",
        constraint="orgs_name_key",
        columns=("name",),
        folded=frozenset({"name"}),
    ),
    Unique(
        table="kb.projects",
        constraint="projects_organization_id_name_key",
        columns=("organization_id", "name"),
        folded=frozenset({"name"}),
    ),
    Unique(
        table="kb.organization_memberships",
        constraint="organization_memberships_organization_id_user_id_key",
        columns=("organization_id", "user_id"),
    ),
    Unique(
        table="kb.project_memberships",
        constraint="project_memberships_project_id_user_id_key",
        columns=("project_id", "user_id"),
    ),
    Unique(table="kb.invites", constraint="invites_token_key", columns=("token",)),
)


def test_people_are_read_and_not_written(db: Connection, make: Factories, project: Row) -> None:
    """Whoever asks, for an organization or for none."""
    person = make.user()
    for organization in (project.organization_id, None):
        with as_application(db, organization=organization):
            assert again(db, person) == person
        for statement in (
            "update core.user_profiles set display_name = 'x'",
            "insert into core.user_profiles (zitadel_user_id) values ('x')",
            "delete from core.user_emails",
            "delete from core.user_profiles",
        ):
            with (
                refused(db, InsufficientPrivilege),
                as_application(db, organization=organization),
            ):
                db.execute(statement.encode())


def test_an_organization_is_renamed_by_its_own_application_alone(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    with working_in(db, project):
        renamed = "update kb.orgs set name = %s"
        assert db.execute(renamed, [f"renamed {project.id}"]).rowcount == 1
    [row] = read(db, "kb.orgs", id=stranger.organization_id)
    assert not row.name.startswith("renamed")


def test_an_organization_cannot_take_another_id(db: Connection, project: Row) -> None:
    with refused(db, InsufficientPrivilege), working_in(db, project):
        db.execute("update kb.orgs set id = gen_random_uuid()")


def test_the_application_makes_and_deletes_projects_of_its_organization(
    db: Connection, make: Factories, project: Row
) -> None:
    with as_application(db, organization=project.organization_id):
        second = make.project(organization=project.organization_id)
        document = make.document(project=second)
        delete(db, second)
    assert gone(db, document)
    assert again(db, project)


def test_a_project_with_rows_cannot_be_moved_to_another_organization(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    """Keys do not cascade on update: its rows would change hands unseen."""
    document = make.document(project=project)
    with refused(db, ForeignKeyViolation):
        change(db, project, organization_id=stranger.organization_id)
    delete(db, document)
    change(db, project, organization_id=stranger.organization_id)


def test_an_invite_of_a_project_is_of_its_organization(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    with refused(db, ForeignKeyViolation, "invites_project_fkey"):
        make.invite(organization=project.organization_id, project=stranger)
    assert make.invite(organization=project.organization_id).project_id is None
    assert make.invite(project=project).organization_id == project.organization_id


def test_a_token_is_taken_whoever_has_it(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    """It is a secret: who knows it has it, so that being told of it tells nothing new."""
    invite = make.invite(project=stranger)
    with refused(db, UniqueViolation, "invites_token_key"), working_in(db, project):
        make.invite(project=project, token=invite.token)


def test_a_person_who_leaves_leaves_their_work(
    db: Connection, make: Factories, project: Row
) -> None:
    person = make.user()
    kept = [
        make.integration(project=project, created_by=person),
        make.extraction_job(project=project, created_by=person),
        make.conversation(project=project, owner_user=person),
        make.audit_entry(user=person, user_email="ada@example.com"),
    ]
    taken = [
        make.user_email(user=person),
        make.project_membership(project=project, user=person),
        make.notification(project=project, user=person),
    ]
    delete(db, person)
    assert all(again(db, row) for row in kept)
    assert again(db, kept[-1]).user_email == "ada@example.com"
    assert all(gone(db, row) for row in taken)


@pytest.mark.parametrize("whole", [True, False], ids=["organization", "project"])
def test_an_organization_or_project_goes_with_all_that_it_has(
    db: Connection, make: Factories, project: Row, stranger: Row, whole: bool
) -> None:
    """Also where a branch and the main line hold heads of one key, which could not be merged."""
    branch = make.branch(project=project)
    thing = make.graph_object(branch=branch)
    archive = make.document(project=project)
    version = make.product_version(project=project)
    rows = [
        branch,
        thing,
        make.graph_object(project=project, type=thing.type, key=thing.key),
        make.embedding_job(object=thing),
        archive,
        make.document(parent_document=archive),
        make.chunk(document=archive),
        make.setting(project=project),
        make.tag(product_version=version),
        make.product_version_member(product_version=version),
        make.message(conversation=make.conversation(project=project)),
    ]
    others = make.chunk(document=make.document(project=stranger))
    delete(db, Row("kb.orgs", {"id": project.organization_id}) if whole else project)
    assert all(gone(db, row) for row in rows)
    assert again(db, others) == others
    assert count(db, "kb.orgs", id=project.organization_id) == (not whole)
