"""Conversations, their messages, and the tools that were called in them."""

from __future__ import annotations

from psycopg.errors import ForeignKeyViolation, InsufficientPrivilege

from headwater.testing.context import as_application
from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.e2e.helpers import (
    Connection,
    again,
    delete,
    gone,
    refused,
    working_in,
)
from tests.e2e.rules import Rule, closed_sets

TABLES = ("kb.chat_conversations", "kb.chat_messages", "kb.mcp_tool_calls")
RULES: tuple[Rule, ...] = closed_sets(*TABLES)


def test_a_conversation_is_read_back_in_order(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        conversation = make.conversation(project=project)
        assert conversation.is_private
        for day, (role, content) in enumerate(
            (("user", "Which way?"), ("assistant", "Downhill."), ("user", "Why?")), start=1
        ):
            make.message(
                conversation=conversation,
                role=role,
                content=content,
                created_at=f"2020-02-0{day}T00:00:00Z",
                citations=[{"chunk": day}],
            )
        said = db.execute(
            "select content, citations from kb.chat_messages where conversation_id = %s "
            "order by created_at desc limit 2",
            [conversation.id],
        ).fetchall()
        assert said == [("Why?", [{"chunk": 3}]), ("Downhill.", [{"chunk": 2}])]


def test_a_private_conversation_is_the_applications_to_hide(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    """Row security stops at the organization."""
    conversation = make.conversation(project=project, owner_user=make.user(), is_private=True)
    with working_in(db, project):
        assert again(db, conversation) == conversation
    with working_in(db, stranger):
        assert gone(db, conversation)


def test_deleting_a_conversation_takes_the_messages_and_keeps_the_tool_calls(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        conversation = make.conversation(project=project)
        message = make.message(conversation=conversation)
        call = make.tool_call(conversation=conversation, tool_parameters={"query": "Aare"})
        delete(db, conversation)
        assert gone(db, message)
        left = again(db, call)
    assert (left.conversation_id, left.organization_id, left.project_id) == (
        None,
        project.organization_id,
        project.id,
    )


def test_a_tool_call_follows_its_conversation_and_names_no_other_organizations(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    theirs = make.conversation(project=stranger)
    assert make.tool_call(conversation=theirs).organization_id == stranger.organization_id
    with refused(db, ForeignKeyViolation, "mcp_tool_calls_conversation_fkey"):
        make.tool_call(project=project, conversation=theirs)


def test_a_conversation_of_a_hidden_project_is_not_named(
    db: Connection, make: Factories, project: Row, elsewhere: Row
) -> None:
    """The key cannot say so: it carries no project, which may be null on either side."""
    hidden = make.conversation(project=elsewhere)
    whole = make.conversation(organization=project.organization_id)
    with refused(db, InsufficientPrivilege), working_in(db, project):
        make.tool_call(project=project, conversation=hidden)
    with working_in(db, project):
        make.tool_call(project=project, conversation=whole)
    with as_application(db, organization=project.organization_id):
        make.tool_call(project=project, conversation=hidden)
