"""The graph: versions of objects and of what relates them, their heads, words and jobs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import ForeignKeyViolation, GeneratedAlways, UniqueViolation

from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.e2e.helpers import (
    Connection,
    again,
    change,
    count,
    delete,
    gone,
    one,
    plan_of,
    read,
    refused,
    sessions_in,
    working_in,
)
from tests.e2e.rules import Rule, Unique, closed_sets

TABLES = (
    "kb.graph_objects",
    "kb.graph_relationships",
    "kb.embedding_policies",
    "kb.graph_embedding_jobs",
)
SUPERSEDED = {"supersedes_id": uuid4()}
DELETED = {"deleted_at": "2020-02-02T00:00:00Z"}
RULES: tuple[Rule, ...] = (
    *closed_sets("kb.graph_embedding_jobs"),
    # On the main line, where two null branches are equal.
    Unique(
        table="kb.graph_objects",
        constraint="graph_objects_head_key",
        columns=("project_id", "type", "key"),
        given=(("branch", None),),
        free=(SUPERSEDED, DELETED, {"key": None}),
        other=(("type", "other"),),
    ),
    Unique(
        table="kb.graph_relationships",
        constraint="graph_relationships_head_key",
        columns=("project_id", "type", "src_id", "dst_id"),
        given=(("branch", None),),
        free=(SUPERSEDED, DELETED),
        other=(("type", "other"),),
    ),
    Unique(
        table="kb.embedding_policies",
        constraint="embedding_policies_project_id_object_type_key",
        columns=("project_id", "object_type"),
    ),
    Unique(
        table="kb.graph_embedding_jobs",
        constraint="graph_embedding_jobs_open_object_id_key",
        columns=("object_id",),
        free=({"status": "completed"}, {"status": "failed"}),
    ),
)


# The head of an object is the version that nothing replaced: one for a type, a key and a branch.


def supersede(db: Connection, make: Factories, old: Row, **properties: object) -> Row:
    """Write the next version, as an application does: the old row names the new one."""
    new_id = uuid4()
    change(db, old, supersedes_id=new_id, canonical_id=old.canonical_id or old.id)
    return make.graph_object(
        id=new_id,
        organization=old.organization_id,
        project=old.project_id,
        branch=old.branch_id,
        type=old.type,
        key=old.key,
        version=old.version + 1,
        canonical=old.canonical_id or old.id,
        properties=properties,
    )


def heads(db: Connection, thing: Row) -> list[Row]:
    return read(
        db, "kb.graph_objects", type=thing.type, key=thing.key, supersedes_id=None, deleted_at=None
    )


def test_a_new_version_replaces_the_head(db: Connection, make: Factories, project: Row) -> None:
    with working_in(db, project):
        first = make.graph_object(project=project)
        second = supersede(db, make, first, length=288)
        third = supersede(db, make, second, length=294)
        assert heads(db, first) == [third]
        assert [again(db, row).supersedes_id for row in (first, second)] == [second.id, third.id]
        chain = db.execute(
            "select version from kb.graph_objects where canonical_id = %s order by version desc",
            [first.id],
        )
        assert chain.fetchall() == [(3,), (2,), (1,)]


def test_a_version_that_does_not_replace_the_head_is_refused(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        first = make.graph_object(project=project)
        with refused(db, UniqueViolation, "graph_objects_head_key"):
            make.graph_object(project=project, type=first.type, key=first.key, version=2)
        old = supersede(db, make, first)
        with refused(db, UniqueViolation, "graph_objects_head_key"):
            change(db, first, supersedes_id=None)
        assert heads(db, first) == [old]


def wait_until_blocked(watching: Connection, waiting: Connection, by: Connection) -> None:
    """Return once one session waits for a lock that the other one holds."""
    deadline = monotonic() + 30
    query = "select %s = any(pg_blocking_pids(%s))"
    while not one(watching, query, by.info.backend_pid, waiting.info.backend_pid):
        assert monotonic() < deadline, "the two never met"


def test_of_two_sessions_that_replace_the_same_head_at_once_one_wins(
    database: Any, connection: Connection
) -> None:
    """The second has begun before the first commits, and waits; then the unique index decides."""
    project = Factories(connection).project()
    head = Factories(connection).graph_object(project=project)

    def replace(session: Connection, length: int) -> Row:
        with session.transaction():
            return supersede(session, Factories(session), head, length=length)

    with sessions_in(database, project) as (first, second), ThreadPoolExecutor(1) as pool:
        with first.transaction():
            won = replace(first, 288)
            other = pool.submit(replace, second, 294)
            wait_until_blocked(connection, second, by=first)
        with pytest.raises(UniqueViolation, match="graph_objects_head_key"):
            other.result(timeout=30)
    assert heads(connection, head) == [won]
    assert again(connection, head).supersedes_id == won.id
    assert count(connection, "kb.graph_objects", type=head.type, key=head.key) == 2


def test_a_deleted_object_frees_its_key_and_can_come_back_only_while_it_is_free(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        first = make.graph_object(project=project)
        change(db, first, deleted_at="2020-02-02T00:00:00Z")
        assert heads(db, first) == []
        second = make.graph_object(project=project, type=first.type, key=first.key)
        with refused(db, UniqueViolation, "graph_objects_head_key"):
            change(db, first, deleted_at=None)
        delete(db, second)
        change(db, first, deleted_at=None)


def test_a_key_has_one_head_on_each_branch(db: Connection, make: Factories, project: Row) -> None:
    draft, other = make.branch(project=project), make.branch(project=project)
    with working_in(db, project):
        main = make.graph_object(project=project)
        same = {"type": main.type, "key": main.key}
        on_branch = make.graph_object(branch=draft, **same)
        make.graph_object(branch=other, **same)
        for where in ({"project": project}, {"branch": draft}):
            with refused(db, UniqueViolation, "graph_objects_head_key"):
                make.graph_object(**where, **same)
        with refused(db, UniqueViolation, "graph_objects_head_key"):
            change(db, on_branch, branch_id=None)
        assert len(heads(db, main)) == 3


def test_objects_without_a_key_are_not_compared(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        things = [make.graph_object(project=project, type="note", key=None) for _ in range(3)]
        with refused(db, UniqueViolation, "graph_objects_head_key"):
            for thing in things:
                change(db, thing, key="one of them")


def test_the_same_edge_runs_both_ways_and_once_on_each_branch(
    db: Connection, make: Factories, project: Row
) -> None:
    draft = make.branch(project=project)
    with working_in(db, project):
        edge = make.graph_relationship(project=project)
        ends = {"src": edge.src_id, "dst": edge.dst_id}
        make.graph_relationship(project=project, src=edge.dst_id, dst=edge.src_id)
        make.graph_relationship(branch=draft, **ends)
        with refused(db, UniqueViolation, "graph_relationships_head_key"):
            make.graph_relationship(branch=draft, **ends)


def test_ends_and_versions_may_be_anywhere(db: Connection, make: Factories, project: Row) -> None:
    """They have no foreign key, on purpose: versions are written and purged in any order."""
    with working_in(db, project):
        nowhere = uuid4()
        edge = make.graph_relationship(project=project, src=nowhere, dst=nowhere)
        thing = make.graph_object(project=project, canonical=nowhere, supersedes=nowhere)
        real = make.graph_relationship(project=project)
        delete(db, Row("kb.graph_objects", {"id": real.src_id}))
        assert again(db, real) == real
        assert again(db, edge).src_id == again(db, thing).canonical_id == nowhere


def test_a_branch_is_one_of_the_same_project(
    db: Connection, make: Factories, project: Row, elsewhere: Row, stranger: Row
) -> None:
    for other in (elsewhere, stranger):
        branch = make.branch(project=other)
        for method in (make.graph_object, make.graph_relationship):
            with refused(db, ForeignKeyViolation, "branch_fkey"):
                method(project=project, branch=branch)


def test_deleting_a_branch_brings_its_objects_to_the_main_line_unless_the_key_is_taken(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        branch = make.branch(project=project)
        thing = make.graph_object(branch=branch)
        edge = make.graph_relationship(branch=branch)
        with db.transaction(force_rollback=True):
            delete(db, branch)
            assert again(db, thing).branch_id is again(db, edge).branch_id is None
        make.graph_object(project=project, type=thing.type, key=thing.key)
        with refused(db, UniqueViolation, "graph_objects_head_key"):
            delete(db, branch)


# Words and meaning


def test_an_object_is_found_by_key_type_and_properties(
    db: Connection, make: Factories, project: Row
) -> None:
    with working_in(db, project):
        thing = make.graph_object(
            project=project, type="River", key="R-7", properties={"name": "Aare", "km": 288}
        )
        query = "select count(*) from kb.graph_objects where fts @@ plainto_tsquery('simple', %s)"
        for word in ("river", "r-7", "aare", "name", "288"):
            assert one(db, query, word) == 1, word
        change(db, thing, key="R-8")
        assert [one(db, query, word) for word in ("r-7", "r-8")] == [0, 1]
        with refused(db, GeneratedAlways):
            change(db, thing, fts="'forged'")


def test_objects_are_searched_by_their_indexes(db: Connection, make: Factories) -> None:
    """With seqscan off: a few hundred rows are read faster than any index of them."""
    thing = make.graph_object(embedding_vec=[0.0] * 767 + [1.0], properties={"name": "Aare"})
    target = thing.embedding_vec
    db.execute("set local enable_seqscan = off")
    for query, index in (
        ("select id from kb.graph_objects where fts @@ 'aare'", "graph_objects_fts_idx"),
        (
            f"select id from kb.graph_objects order by embedding_vec <=> '{target}' limit 1",
            "graph_objects_embedding_vec_idx",
        ),
    ):
        assert index in plan_of(db, query)
        assert one(db, query) == thing.id


def test_an_embedding_of_an_object_has_768_numbers(db: Connection, make: Factories) -> None:
    with refused(db, psycopg.errors.DataException):
        make.graph_object(embedding_vec=[0.5] * 3)


# What is embedded, and when


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_an_object_has_one_open_embedding_job(
    db: Connection, make: Factories, project: Row, status: str
) -> None:
    thing = make.graph_object(project=project)
    with working_in(db, project):
        job = make.embedding_job(object=thing, status=status)
        for closed in ("failed", "completed", "completed"):
            make.embedding_job(object=thing, status=closed)
        for other in ("pending", "processing"):
            with refused(db, UniqueViolation, "graph_embedding_jobs_open_object_id_key"):
                make.embedding_job(object=thing, status=other)
        change(db, job, status="completed")
        again_open = make.embedding_job(object=thing)
        with refused(db, UniqueViolation, "graph_embedding_jobs_open_object_id_key"):
            change(db, job, status="pending")
        delete(db, thing)
        assert gone(db, again_open)


def test_a_policy_of_embedding_starts_wide_open(make: Factories) -> None:
    policy = make.embedding_policy()
    assert (policy.enabled, policy.max_property_size) == (True, 10000)
    assert policy.required_labels == policy.excluded_labels == policy.relevant_paths == []
    assert make.embedding_policy(max_property_size=None, required_labels=["a", "b"])


def test_what_is_searched_is_ones_own(
    db: Connection, make: Factories, project: Row, stranger: Row
) -> None:
    theirs = make.graph_object(project=stranger, properties={"name": "Aare"})
    make.embedding_job(object=theirs)
    with working_in(db, project):
        assert count(db, "kb.graph_objects") == count(db, "kb.graph_embedding_jobs") == 0
