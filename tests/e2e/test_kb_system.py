"""Tags, notifications, the audit log, and the logs of processes and models."""

from __future__ import annotations

from decimal import Decimal

import pytest
from psycopg.errors import (
    ForeignKeyViolation,
    GeneratedAlways,
    InsufficientPrivilege,
    NumericValueOutOfRange,
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
    plan_of,
    read,
    refused,
    working_in,
)
from tests.e2e.rules import Rule, Unique, Values, closed_sets

TABLES = (
    "kb.tags",
    "kb.notifications",
    "kb.audit_log",
    "kb.system_process_logs",
    "kb.llm_call_logs",
)
RULES: tuple[Rule, ...] = (
    *closed_sets(*TABLES),
    Values(
        table="kb.tags",
        constraint="tags_name_not_blank_check",
        takes=({"name": "v1"}, {"name": " v1 "}, {"name": "-"}),
        refuses=({"name": ""}, {"name": "  "}, {"name": "\n\t"}),
    ),
    Unique(
        table="kb.tags",
        constraint="tags_project_id_name_key",
        columns=("project_id", "name"),
        folded=frozenset({"name"}),
    ),
)


def test_a_tag_is_of_a_product_version_of_its_project(
    db: Connection, make: Factories, project: Row, elsewhere: Row, stranger: Row
) -> None:
    assert make.tag(product_version=make.product_version(project=project)).project_id == project.id
    for other in (elsewhere, stranger):
        with refused(db, ForeignKeyViolation, "tags_product_version_fkey"):
            make.tag(project=project, product_version=make.product_version(project=other))


# The inbox

INBOX = (
    "select title from kb.notifications where user_id = %s and importance = %s "
    "and read_at is null and cleared_at is null order by created_at desc"
)


def test_the_inbox_shows_what_is_unread_and_not_cleared(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    ada = make.user()
    with working_in(db, project):
        for title, columns in (
            ("old", {"created_at": "2020-02-02T00:00:00Z"}),
            ("new", {"dismissed_at": "2020-02-02T00:00:00Z"}),
            ("read", {"read_at": "2020-02-02T00:00:00Z"}),
            ("cleared", {"cleared_at": "2020-02-02T00:00:00Z"}),
            ("other tab", {"importance": "other"}),
        ):
            values = {"importance": "important", **columns}
            make.notification(project=project, user=ada, title=title, **values)
        assert db.execute(INBOX, [ada.id, "important"]).fetchall() == [("new",), ("old",)]
    with working_in(db, stranger):
        assert db.execute(INBOX, [ada.id, "important"]).fetchall() == []


def test_the_inbox_has_an_index_of_its_own(db: Connection, make: Factories) -> None:
    """With seqscan and the wider index off: a handful of rows needs neither."""
    ada = make.notification(user=make.user()).user_id
    db.execute("set local enable_seqscan = off")
    db.execute("drop index kb.notifications_user_id_created_at_idx")
    plan = plan_of(db, INBOX, ada, "other")
    assert "notifications_unread_idx" in plan
    assert "Sort" not in plan


def test_a_notification_without_a_person_is_for_everyone_who_may_see_it(
    db: Connection, make: Factories, project: Row, elsewhere: Row
) -> None:
    for_all = make.notification(organization=project.organization_id)
    for_project = make.notification(project=project, actions=[{"label": "Open"}])
    assert for_project.actions == [{"label": "Open"}]
    with working_in(db, elsewhere):
        assert again(db, for_all).user_id is None
        assert gone(db, for_project)


# The audit log


def test_the_audit_log_takes_entries_without_an_organization_and_shows_none(
    db: Connection, make: Factories, project: Row
) -> None:
    returning = (
        "insert into kb.audit_log (event_type, action, endpoint, http_method, outcome) "
        "values ('e', 'a', '/', 'GET', 'success') returning id"
    )
    for organization in (None, project.organization_id):
        with as_application(db, organization=organization):
            entry = make.audit_entry(outcome="denied", details={"why": "password"})
        # (What is given back is what was sent: only the owner reads what is there.)
        [written] = read(db, "kb.audit_log", event_type=entry.event_type)
        assert (written.outcome, written.details) == ("denied", {"why": "password"})
        assert (written.action, written.endpoint) == (entry.action, entry.endpoint)
        for statement in (
            "select from kb.audit_log",
            "update kb.audit_log set outcome = 'success'",
            "delete from kb.audit_log",
            returning,
        ):
            with (
                refused(db, InsufficientPrivilege),
                as_application(db, organization=organization),
            ):
                db.execute(statement.encode())
    assert count(db, "kb.audit_log") == 2


def test_ids_of_the_audit_log_are_given_by_the_database_and_rise(
    db: Connection, make: Factories
) -> None:
    first, second = make.audit_entry(), make.audit_entry()
    assert first.id < second.id
    with refused(db, GeneratedAlways):
        make.audit_entry(id=7)


FILL_LOG = """
insert into kb.audit_log
    (occurred_at, user_id, event_type, action, endpoint, http_method, outcome,
     resource_type, resource_id, details)
select now() - n * interval '1 hour', (%(users)s::uuid[])[1 + n %% 20],
    'event ' || n, 'read', '/rivers', 'GET', 'success',
    'document', n, jsonb_build_object('why', n)
from generate_series(1, 200) as n
"""


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("occurred_at > now()", "audit_log_occurred_at_idx"),
        ("event_type = 'login'", "audit_log_event_type_idx"),
        ("resource_type = 'document' and resource_id = '7'", "audit_log_resource"),
        ('details @> \'{"why": "password"}\'', "audit_log_details_idx"),
    ],
)
def test_the_audit_log_is_searched_by_its_indexes(
    db: Connection, make: Factories, condition: str, index: str
) -> None:
    """With seqscan off: the test's log is short. (Of an empty one any index would do.)"""
    users = [make.user().id for _ in range(20)]
    db.execute(FILL_LOG, {"users": users})
    db.execute("analyze kb.audit_log")
    db.execute("set local enable_seqscan = off")
    assert index in plan_of(db, f"select id from kb.audit_log where {condition}")


# Logs of processes and models


def test_a_process_reports_and_its_organization_reads(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    with working_in(db, project):
        job = make.extraction_job(project=project)
        make.process_log(project=project, process_id=str(job.id), metadata={"step": 1})
        make.process_log(organization=project.organization_id, process_id=str(job.id))
        delete(db, job)
        assert count(db, "kb.system_process_logs", process_id=str(job.id)) == 2
    with working_in(db, stranger):
        assert count(db, "kb.system_process_logs") == 0


def test_the_cost_of_a_call_is_kept_to_a_millionth(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        call = make.llm_call(project=project, cost_usd=Decimal("0.0000125"))
        assert call.cost_usd == Decimal("0.000013")
        assert make.llm_call(project=project, cost_usd=Decimal("9999.999999"))
        with refused(db, NumericValueOutOfRange):
            make.llm_call(project=project, cost_usd=10_000)
        done = change(db, call, status="success", total_tokens=12, duration_ms=80)
        assert (done.status, done.total_tokens) == ("success", 12)
