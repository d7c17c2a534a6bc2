"""Row security of the reference schema: what the application role can and cannot reach.

Two organizations hold one row of every table of kb. Acting as `app_rls` for the one, each test
tries to read, write and point at the rows of the other, and does the same with its own as proof
that the attempt was a real one. Every attempt runs in a savepoint that is rolled back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import (
    ForeignKeyViolation,
    InsufficientPrivilege,
    InvalidTextRepresentation,
    UniqueViolation,
)

Connection = psycopg.Connection[tuple[Any, ...]]
Row = dict[str, object]
Statement = sql.SQL | sql.Composed
DatabaseMaker = Callable[[], AbstractContextManager[str]]

SEEDED, NEW, SPARE = (
    0,
    1,
    2,
)  # which row of a place: in the database, to be inserted, a second parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row belongs: an organization, and one of its projects or none."""

    organization: str
    project: str | None

    @property
    def organization_id(self) -> UUID:
        return uuid5(NAMESPACE_OID, self.organization)

    @property
    def project_id(self) -> UUID | None:
        return self.id("projects") if self.project else None

    def id(self, table: str, n: int = SEEDED) -> UUID:
        return uuid5(NAMESPACE_OID, f"{self.organization}/{self.project}/{table}/{n}")


OURS = Place(organization="ours", project="first")
OURS_ELSEWHERE = Place(organization="ours", project="second")
OURS_WITHOUT_PROJECT = Place(organization="ours", project=None)
THEIRS = Place(organization="theirs", project="first")
THEIRS_WITHOUT_PROJECT = Place(organization="theirs", project=None)


def rows_of(place: Place, n: int) -> dict[str, Row]:
    """Return a row of every table of kb, parents first; they name the seeded rows of the place."""
    mine = place.id
    name = f"{place.organization}-{place.project}-{n}"
    user_id = mine("user_profiles", n)
    tenant: Row = {"organization_id": place.organization_id, "project_id": place.project_id}
    # A second row cannot have both parents of the first where the pair is unique.
    other = SPARE if n == NEW else SEEDED
    return {
        "orgs": {
            "id": mine("orgs", n) if n else place.organization_id,
            "name": f"{place.organization}-{n}",
        },
        "projects": {
            "id": mine("projects", n),
            "organization_id": place.organization_id,
            "name": name,
        },
        "organization_memberships": {
            "id": mine("organization_memberships", n),
            "organization_id": place.organization_id,
            "user_id": user_id,
            "role": "org_admin",
        },
        "project_memberships": {
            "id": mine("project_memberships", n),
            "project_id": place.project_id,
            "user_id": user_id,
            "role": "project_user",
        },
        "invites": {
            "id": mine("invites", n),
            **tenant,
            "email": "ada@example.com",
            "role": "project_user",
            "token": str(mine("token", n)),
        },
        "documents": {"id": mine("documents", n), **tenant, "content": name},
        "chunks": {
            "id": mine("chunks", n),
            "document_id": mine("documents"),
            "chunk_index": mine("chunks", n).int % 2**31,
            "text": name,
        },
        "branches": {"id": mine("branches", n), **tenant, "name": name},
        "branch_lineage": {
            "branch_id": mine("branches", other),
            "ancestor_branch_id": mine("branches", SEEDED if other else SPARE),
            "depth": 1,
        },
        "product_versions": {"id": mine("product_versions", n), **tenant, "name": name},
        "product_version_members": {
            "product_version_id": mine("product_versions"),
            "object_canonical_id": mine("graph_objects", n),
            "object_version_id": mine("graph_objects", n),
        },
        "graph_objects": {"id": mine("graph_objects", n), **tenant, "type": "t", "key": name},
        "merge_provenance": {
            "child_version_id": mine("graph_objects"),
            "parent_version_id": mine("merged", n),
            "role": "source",
        },
        "graph_relationships": {
            "id": mine("graph_relationships", n),
            **tenant,
            "type": name,
            "src_id": mine("graph_objects"),
            "dst_id": mine("graph_objects"),
        },
        "object_type_schemas": {
            "id": mine("object_type_schemas", n),
            **tenant,
            "type": name,
            "json_schema": "{}",
        },
        "relationship_type_schemas": {
            "id": mine("relationship_type_schemas", n),
            **tenant,
            "type": name,
            "json_schema": "{}",
        },
        "object_extraction_jobs": {
            "id": mine("object_extraction_jobs", n),
            **tenant,
            "source_type": "manual",
        },
        "discovery_jobs": {
            "id": mine("discovery_jobs", n),
            **tenant,
            "status": "pending",
            "kb_purpose": "tests",
        },
        "discovery_type_candidates": {
            "id": mine("discovery_type_candidates", n),
            "job_id": mine("discovery_jobs"),
            "batch_number": 1,
            "type_name": name,
            "confidence": 0.5,
            "inferred_schema": "{}",
        },
        "graph_template_packs": {
            "id": mine("graph_template_packs", n),
            "name": name,
            "version": "1",
            "source": "discovered",
            "discovery_job_id": mine("discovery_jobs"),
        },
        "project_template_packs": {
            "id": mine("project_template_packs", n),
            "project_id": place.project_id,
            "template_pack_id": mine("graph_template_packs", other),
        },
        "project_object_type_registry": {
            "id": mine("project_object_type_registry", n),
            "project_id": place.project_id,
            "type_name": name,
            "source": "custom",
            "json_schema": "{}",
        },
        "chat_conversations": {"id": mine("chat_conversations", n), **tenant, "title": name},
        "chat_messages": {
            "id": mine("chat_messages", n),
            "conversation_id": mine("chat_conversations"),
            "role": "user",
            "content": name,
        },
        "mcp_tool_calls": {
            "id": mine("mcp_tool_calls", n),
            **tenant,
            "session_id": name,
            "turn_number": 1,
            "tool_name": "search",
            "status": "success",
        },
        "integrations": {
            "id": mine("integrations", n),
            **tenant,
            "name": name,
            "display_name": name,
        },
        "clickup_sync_state": {
            "id": mine("clickup_sync_state", n),
            "integration_id": mine("integrations", other),
        },
        "tags": {"id": mine("tags", n), **tenant, "name": name},
        "notifications": {
            "id": mine("notifications", n),
            **tenant,
            "title": name,
            "message": name,
        },
        "audit_log": {
            "event_type": name,
            "action": "read",
            "endpoint": "/",
            "http_method": "GET",
            "outcome": "success",
        },
        "system_process_logs": {
            "id": mine("system_process_logs", n),
            **tenant,
            "process_id": name,
            "process_type": "test",
            "level": "info",
            "message": name,
        },
        "llm_call_logs": {
            "id": mine("llm_call_logs", n),
            **tenant,
            "process_id": name,
            "process_type": "test",
            "model_name": "m",
            "request_payload": "{}",
            "status": "success",
        },
        "embedding_policies": {
            "id": mine("embedding_policies", n),
            "project_id": place.project_id,
            "object_type": name,
        },
        "graph_embedding_jobs": {
            "id": mine("graph_embedding_jobs", n),
            "object_id": mine("graph_objects"),
            "status": "completed",
        },
        "settings": {"id": mine("settings", n), **tenant, "key": name},
    }


TABLES = tuple(rows_of(OURS, SEEDED))
EVERY_COMMAND = frozenset({"select", "insert", "update", "delete"})
# What the application may do with its own rows, where that is not everything.
COMMANDS = {
    "orgs": frozenset({"select", "update"}),
    "graph_template_packs": frozenset({"select"}),
    "audit_log": frozenset({"insert"}),
}
WITHOUT_TENANT = frozenset({"audit_log"})
WITHOUT_PROJECT = frozenset({"orgs", "organization_memberships", "audit_log"})
PROJECT_MAY_BE_NULL = (
    "invites",
    "chat_conversations",
    "mcp_tool_calls",
    "notifications",
    "system_process_logs",
    "llm_call_logs",
    "settings",
)
# A reference that has no foreign key, on purpose, and that a policy follows all the same.
FOLLOWED_WITHOUT_KEY = {"merge_provenance": {"child_version_id": ("graph_objects", "id")}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Something the application tried, and whether the database refused it."""

    what: str
    refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A database with rows of two organizations, and what the catalogue says of its tables."""

    url: str
    tables: frozenset[str]
    primary_keys: dict[str, tuple[str, ...]]
    references: dict[str, dict[str, tuple[str, str]]]


PRIMARY_KEYS = """
select c.relname, array_agg(a.attname::text)
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_attribute a on a.attrelid = c.oid and a.attnum = any (k.conkey)
where k.contype = 'p' and c.relnamespace = 'kb'::regnamespace
group by c.relname
"""

REFERENCES = """
select c.relname, a.attname, p.relname, pa.attname
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_class p on p.oid = k.confrelid and p.relnamespace = 'kb'::regnamespace
cross join generate_subscripts(k.conkey, 1) as i
join pg_attribute a on a.attrelid = c.oid and a.attnum = k.conkey[i]
join pg_attribute pa on pa.attrelid = p.oid and pa.attnum = k.confkey[i]
where k.contype = 'f' and c.relnamespace = 'kb'::regnamespace
"""

TABLES_OF_KB = """
select relname from pg_class where relnamespace = 'kb'::regnamespace and relkind in ('r', 'p')
"""


@pytest.fixture(scope="module")
def world(reference_database: DatabaseMaker) -> Iterator[World]:
    with reference_database() as url:
        with psycopg.connect(url) as owner:
            seed(owner)
            references: dict[str, dict[str, tuple[str, str]]] = {table: {} for table in TABLES}
            for table, column, parent, key in owner.execute(REFERENCES):
                references.setdefault(table, {})[column] = (parent, key)
            for table, followed in FOLLOWED_WITHOUT_KEY.items():
                references[table].update(followed)
            facts = World(
                url=url,
                tables=frozenset(name for (name,) in owner.execute(TABLES_OF_KB)),
                primary_keys={t: tuple(columns) for t, columns in owner.execute(PRIMARY_KEYS)},
                references=references,
            )
        yield facts


def seed(owner: Connection) -> None:
    """Put one row of every table into each place, and spare parents where a pair must be unique."""
    for place in (OURS, OURS_ELSEWHERE, THEIRS, OURS_WITHOUT_PROJECT, THEIRS_WITHOUT_PROJECT):
        for n in (SEEDED, NEW):
            owner.execute(
                "insert into core.user_profiles (id, zitadel_user_id) values (%s, %s)",
                [place.id("user_profiles", n), str(place.id("user_profiles", n))],
            )
        tables = TABLES if place.project else PROJECT_MAY_BE_NULL
        for table in tables:
            insert(owner, table, rows_of(place, SEEDED)[table], unless_there=table == "orgs")
            if place.project and table in {"branches", "integrations", "graph_template_packs"}:
                insert(owner, table, rows_of(place, SPARE)[table])


@pytest.fixture
def app(world: World) -> Iterator[Connection]:
    """A fresh session as the application: its settings have never been set."""
    with psycopg.connect(world.url) as connection:
        connection.execute("set role app_rls")
        yield connection
        connection.rollback()


# Statements, each in a savepoint that is rolled back


def work_for(connection: Connection, organization: object, project: object = "") -> None:
    connection.execute(
        "select set_config('app.current_organization_id', %s, false),"
        " set_config('app.current_project_id', %s, false)",
        [str(organization), str(project)],
    )


def as_owner(connection: Connection, statement: Statement) -> None:
    connection.execute("reset role")
    connection.execute(statement)
    connection.execute("set role app_rls")


def insert(connection: Connection, table: str, row: Row, *, unless_there: bool = False) -> int:
    query = sql.SQL("insert into {} ({}) values ({}) {}").format(
        sql.Identifier("kb", table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(map(sql.Literal, row.values())),
        sql.SQL("on conflict do nothing" if unless_there else ""),
    )
    return connection.execute(query).rowcount


def matching(world: World, table: str, row: Row) -> Statement:
    """Return the condition that finds a row; the audit log, whose ids are given, is taken whole."""
    keys = world.primary_keys[table] if table not in WITHOUT_TENANT else ()
    conditions = [
        sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(row[key])) for key in keys
    ]
    return sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true")


def command_on(
    world: World, table: str, command: str, row: Row, change: Row | None = None
) -> Statement:
    """Return the statement that reads, changes or deletes one row."""
    where = matching(world, table, row)
    target = sql.Identifier("kb", table)
    if command == "select":
        return sql.SQL("select from {} where {}").format(target, where)
    if command == "delete":
        return sql.SQL("delete from {} where {}").format(target, where)
    assignments = [
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value))
        for column, value in (change or {"created_at": "2020-02-02T00:00:00Z"}).items()
    ]
    return sql.SQL("update {} set {} where {}").format(
        target, sql.SQL(", ").join(assignments), where
    )


def attempt(connection: Connection, what: str, run: Callable[[], int]) -> Attempt:
    """Try it. Refused is: no row was found, no privilege, a policy, a foreign key; else it worked.

    A duplicate key is not: the row came as far as the index, and learned what is there. Any other
    error is a mistake of the test, and is raised.
    """
    with connection.transaction(force_rollback=True):
        try:
            with connection.transaction():
                return Attempt(what=what, refused=run() == 0)
        except (InsufficientPrivilege, ForeignKeyViolation):
            return Attempt(what=what, refused=True)
        except UniqueViolation:
            return Attempt(what=what, refused=False)


def try_command(world: World, app: Connection, table: str, command: str, place: Place) -> Attempt:
    what = f"{command} of {table} in {place}"
    if command == "insert":
        return attempt(app, what, lambda: insert(app, table, rows_of(place, NEW)[table]))
    statement = command_on(world, table, command, rows_of(place, SEEDED)[table])
    return attempt(app, what, lambda: app.execute(statement).rowcount)


def commands(table: str) -> frozenset[str]:
    return COMMANDS.get(table, EVERY_COMMAND)


# What is tried, for one table


def own_work(world: World, app: Connection, table: str, place: Place) -> list[Attempt]:
    """Everything the application is there for: its own rows, and its own parents named."""
    attempts = [try_command(world, app, table, c, place) for c in sorted(commands(table))]
    if "update" in commands(table):
        row = rows_of(place, SEEDED)[table]
        for column, (parent, key) in world.references[table].items():
            mine = rows_of(place, SEEDED)[parent][key]
            statement = command_on(world, table, "update", row, {column: mine})
            attempts.append(attempt(app, f"{statement!r}", execution(app, statement)))
    return attempts


def execution(app: Connection, statement: Statement) -> Callable[[], int]:
    return lambda: app.execute(statement).rowcount


def work_beyond(world: World, app: Connection, table: str, place: Place) -> list[Attempt]:
    """Return the commands that the application has no business with, on its own rows."""
    beyond = sorted(EVERY_COMMAND - commands(table))
    return [try_command(world, app, table, command, place) for command in beyond]


def reaching(world: World, app: Connection, table: str, place: Place) -> list[Attempt]:
    """Read, insert, change and delete a row of somebody else's place."""
    if table in WITHOUT_TENANT:
        return work_beyond(world, app, table, place)
    return [try_command(world, app, table, command, place) for command in sorted(EVERY_COMMAND)]


def pointing(
    world: World, app: Connection, table: str, own: Place, stranger: Place
) -> list[Attempt]:
    """Insert and change an own row so that one column names a stranger's parent."""
    attempts = []
    for column, (parent, key) in sorted(world.references[table].items()):
        theirs = rows_of(stranger, SEEDED)[parent][key]
        if theirs == rows_of(own, SEEDED)[parent][key]:
            continue  # two projects of one organization
        what = f"{table}.{column} in {own} names {parent} in {stranger}"
        new = rows_of(own, NEW)[table] | {column: theirs}
        change = command_on(world, table, "update", rows_of(own, SEEDED)[table], {column: theirs})
        attempts.append(attempt(app, f"insert: {what}", insertion(app, table, new)))
        attempts.append(attempt(app, f"update: {what}", execution(app, change)))
    return attempts


def posing(world: World, app: Connection, table: str, own: Place, stranger: Place) -> list[Attempt]:
    """Insert a copy of a stranger's row, its project too, under the own organization.

    A unique index answers before a foreign key: it must not be asked which names are taken.
    """
    row = rows_of(stranger, SEEDED)[table]
    if not {"organization_id", "project_id"} <= row.keys():
        return []
    copy = row | {"id": own.id("copies"), "organization_id": own.organization_id}
    if "token" in copy:  # unique everywhere, and a secret: who knows it has it
        copy["token"] = "copy"
    what = f"insert: {table} of {own} copies {stranger}"
    return [attempt(app, what, insertion(app, table, copy))]


def insertion(app: Connection, table: str, row: Row) -> Callable[[], int]:
    return lambda: insert(app, table, row)


def places_without_project(table: str, place: Place) -> tuple[Place, ...]:
    return (place,) if table in PROJECT_MAY_BE_NULL else ()


def attempts_without_context(world: World, app: Connection, table: str) -> list[Attempt]:
    whole = sql.SQL("select from {}").format(sql.Identifier("kb", table))
    found = [attempt(app, f"select of all {table}", execution(app, whole))]
    for place in (OURS, *places_without_project(table, OURS_WITHOUT_PROJECT)):
        found += reaching(world, app, table, place)
    return found


def attempts_on_strangers(world: World, app: Connection, table: str) -> list[Attempt]:
    work_for(app, OURS.organization_id)
    found = work_beyond(world, app, table, OURS)
    for place in (THEIRS, *places_without_project(table, THEIRS_WITHOUT_PROJECT)):
        found += reaching(world, app, table, place)
    found += posing(world, app, table, OURS, THEIRS)
    return found + pointing(world, app, table, OURS, THEIRS)


def attempts_on_another_project(world: World, app: Connection, table: str) -> list[Attempt]:
    if table in WITHOUT_PROJECT:
        return []
    work_for(app, OURS.organization_id, OURS.project_id)
    found = reaching(world, app, table, OURS_ELSEWHERE)
    return found + pointing(world, app, table, OURS, OURS_ELSEWHERE)


def all_attempts(world: World, app: Connection, table: str) -> list[Attempt]:
    """Return everything that must be refused; the session must be fresh."""
    found = attempts_without_context(world, app, table)  # never set
    work_for(app, "")
    found += attempts_without_context(world, app, table)
    work_for(app, THEIRS.organization_id, OURS.project_id)  # a project of somebody else
    found += reaching(world, app, table, OURS) if table != "orgs" else []
    found += attempts_on_strangers(world, app, table)
    return found + attempts_on_another_project(world, app, table)


def assert_all_refused(attempts: list[Attempt]) -> None:
    worked = [attempt.what for attempt in attempts if not attempt.refused]
    assert attempts
    assert not worked, "not refused:\n" + "\n".join(worked)


def assert_all_worked(attempts: list[Attempt]) -> None:
    refused = [attempt.what for attempt in attempts if attempt.refused]
    assert attempts
    assert not refused, "refused:\n" + "\n".join(refused)


# The tests: every table


def test_every_table_of_kb_has_a_case(world: World) -> None:
    assert world.tables == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_the_application_works_with_its_own_rows(world: World, app: Connection, table: str) -> None:
    """The twin of all that follows: the same attempts, with the right organization, do work."""
    for place in (OURS, THEIRS):
        work_for(app, place.organization_id)
        assert_all_worked(own_work(world, app, table, place))
        work_for(app, place.organization_id, place.project_id)
        narrowed = own_work(world, app, table, place)
        if table == "projects":  # a new project is another one than the set one
            narrowed = [tried for tried in narrowed if not tried.what.startswith("insert")]
        assert_all_worked(narrowed)


@pytest.mark.parametrize("table", PROJECT_MAY_BE_NULL)
def test_rows_without_a_project_are_seen_and_written_whichever_project_is_set(
    world: World, app: Connection, table: str
) -> None:
    for project in ("", OURS.project_id, OURS_ELSEWHERE.project_id):
        work_for(app, OURS.organization_id, project)
        for command in sorted(EVERY_COMMAND):
            tried = try_command(world, app, table, command, OURS_WITHOUT_PROJECT)
            assert_all_worked([tried])


@pytest.mark.parametrize("table", TABLES)
def test_rows_of_another_organization_are_out_of_reach(
    world: World, app: Connection, table: str
) -> None:
    assert_all_refused(attempts_on_strangers(world, app, table))


@pytest.mark.parametrize("table", [table for table in TABLES if table not in WITHOUT_PROJECT])
def test_a_set_project_narrows_to_its_rows(world: World, app: Connection, table: str) -> None:
    assert_all_refused(attempts_on_another_project(world, app, table))


@pytest.mark.parametrize("table", TABLES)
def test_without_an_organization_nothing_is_in_reach(
    world: World, app: Connection, table: str
) -> None:
    assert_all_refused(attempts_without_context(world, app, table))
    work_for(app, "")
    assert_all_refused(attempts_without_context(world, app, table))


@pytest.mark.parametrize("table", [table for table in TABLES if table not in WITHOUT_TENANT])
def test_a_policy_that_lets_everything_through_is_noticed(
    world: World, app: Connection, table: str
) -> None:
    """The attempts above have teeth: with the guard of one table gone, some of them work."""
    opened = sql.SQL("create policy open on {} to app_rls using (true) with check (true)")
    as_owner(app, opened.format(sql.Identifier("kb", table)))
    for attempts in (attempts_without_context, attempts_on_strangers):
        assert not all(tried.refused for tried in attempts(world, app, table))
    if table not in WITHOUT_PROJECT:
        found = attempts_on_another_project(world, app, table)
        assert not all(tried.refused for tried in found)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("documents", "documents_parent_fkey"),
        ("branches", "branches_parent_fkey"),
        ("product_versions", "product_versions_base_fkey"),
        ("graph_objects", "graph_objects_branch_fkey"),
        ("graph_relationships", "graph_relationships_branch_fkey"),
        ("tags", "tags_product_version_fkey"),
        ("notifications", "notifications_project_fkey"),
        ("settings", "settings_project_fkey"),
    ],
)
def test_without_its_composite_key_a_row_could_name_a_strangers_parent(
    world: World, app: Connection, table: str, key: str
) -> None:
    dropped = sql.SQL("alter table {} drop constraint {}")
    as_owner(app, dropped.format(sql.Identifier("kb", table), sql.Identifier(key)))
    work_for(app, OURS.organization_id)
    found = pointing(world, app, table, OURS, THEIRS)
    assert not all(tried.refused for tried in found)


def test_the_fraction_of_attempts_refused_is_all_of_them(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    refused, tried, tables = 0, 0, 0
    for table in sorted(world.tables):
        with psycopg.connect(world.url) as connection:
            connection.execute("set role app_rls")
            attempts = all_attempts(world, connection, table)
            connection.rollback()
        tables += bool(attempts)
        tried += len(attempts)
        refused += sum(a.refused for a in attempts)
    with capsys.disabled():
        sys.stdout.write(
            f"\nrow security: {tables} of {len(world.tables)} tables,"
            f" {refused} of {tried} attempts refused\n"
        )
    assert (tables, refused) == (len(world.tables), tried)


# The tests: what is special


def scalar(connection: Connection, query: sql.SQL) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def assert_refused(app: Connection, query: sql.SQL) -> None:
    """Either an error of privilege or policy, or no row."""
    assert_all_refused([attempt(app, query.as_string(app), execution(app, query))])


def test_a_setting_that_is_no_uuid_is_an_error_and_not_a_way_in(app: Connection) -> None:
    work_for(app, "all")
    with pytest.raises(InvalidTextRepresentation):
        app.execute("select from kb.documents")


def test_a_global_setting_is_read_by_all_and_written_by_none(app: Connection) -> None:
    as_owner(app, sql.SQL("insert into kb.settings (key, value) values ('theme', '1')"))
    for organization in ("", OURS.organization_id, THEIRS.organization_id):
        work_for(app, organization)
        assert scalar(app, sql.SQL("select value from kb.settings where key = 'theme'")) == 1
        assert_refused(app, sql.SQL("update kb.settings set value = '2' where key = 'theme'"))
        assert_refused(app, sql.SQL("delete from kb.settings where key = 'theme'"))
        assert_refused(app, sql.SQL("insert into kb.settings (key) values ('mine')"))
    work_for(app, OURS.organization_id)
    assert_refused(app, sql.SQL("update kb.settings set organization_id = null, project_id = null"))


@pytest.mark.parametrize("source", ["manual", "imported", "system"])
def test_a_template_pack_that_was_not_discovered_is_read_by_all(
    app: Connection, source: str
) -> None:
    as_owner(
        app,
        sql.SQL(
            "insert into kb.graph_template_packs (name, version, source) values ('crm', '1', {})"
        ).format(source),
    )
    for organization in ("", OURS.organization_id, THEIRS.organization_id):
        work_for(app, organization)
        assert (
            scalar(app, sql.SQL("select count(*) from kb.graph_template_packs where name = 'crm'"))
            == 1
        )


def test_a_discovered_pack_whose_job_is_gone_is_seen_by_nobody(app: Connection) -> None:
    as_owner(
        app,
        sql.SQL(
            "insert into kb.graph_template_packs (name, version, source)"
            " values ('lost', '1', 'discovered')"
        ),
    )
    work_for(app, OURS.organization_id)
    assert_refused(app, sql.SQL("select from kb.graph_template_packs where name = 'lost'"))


def test_a_pack_for_everyone_can_be_installed_and_registered(app: Connection) -> None:
    as_owner(
        app, sql.SQL("insert into kb.graph_template_packs (name, version) values ('crm', '1')")
    )
    work_for(app, OURS.organization_id)
    crm = sql.SQL("(select id from kb.graph_template_packs where name = 'crm')")
    for statement in (
        "insert into kb.project_template_packs (project_id, template_pack_id) values ({}, {})",
        "update kb.project_object_type_registry set project_id = {}, template_pack_id = {}",
        "update kb.discovery_jobs set project_id = {}, template_pack_id = {}",
    ):
        work_for(app, OURS.organization_id, OURS.project_id)
        assert app.execute(sql.SQL(statement).format(OURS.project_id, crm)).rowcount == 1


def test_a_line_of_descent_needs_both_ends(app: Connection) -> None:
    """Also for a row that is there already: either end hidden hides it."""
    as_owner(
        app,
        sql.SQL(
            "insert into kb.branch_lineage (branch_id, ancestor_branch_id, depth)"
            " values ({0}, {1}, 7), ({1}, {0}, 7)"
        ).format(OURS.id("branches"), THEIRS.id("branches")),
    )
    for place in (OURS, THEIRS):
        work_for(app, place.organization_id)
        assert_refused(app, sql.SQL("select from kb.branch_lineage where depth = 7"))


def test_an_organization_cannot_take_another_id(app: Connection) -> None:
    work_for(app, OURS.organization_id)
    assert_refused(app, sql.SQL("update kb.orgs set id = gen_random_uuid()"))


def test_the_audit_log_takes_entries_without_an_organization_and_shows_none(
    app: Connection,
) -> None:
    assert insert(app, "audit_log", rows_of(OURS, NEW)["audit_log"]) == 1
    assert_refused(app, sql.SQL("select from kb.audit_log"))


def test_people_are_read_and_not_written(app: Connection) -> None:
    assert scalar(app, sql.SQL("select count(*) > 0 from core.user_profiles"))
    assert_refused(app, sql.SQL("update core.user_profiles set display_name = 'x'"))
    assert_refused(app, sql.SQL("insert into core.user_profiles (zitadel_user_id) values ('x')"))
    assert_refused(app, sql.SQL("delete from core.user_emails"))
    assert_refused(app, sql.SQL("delete from core.user_profiles"))


def test_the_application_neither_makes_nor_changes_nor_empties_tables(app: Connection) -> None:
    work_for(app, OURS.organization_id)
    assert_refused(app, sql.SQL("create table kb.mine ()"))
    assert_refused(app, sql.SQL("alter table kb.documents disable row level security"))
    assert_refused(app, sql.SQL("truncate kb.documents cascade"))


def test_the_role_logs_in_nowhere_and_bypasses_nothing(app: Connection) -> None:
    assert app.execute(
        "select rolcanlogin, rolbypassrls, rolsuper, rolcreaterole, rolcreatedb"
        " from pg_roles where rolname = 'app_rls'"
    ).fetchone() == (False, False, False, False, False)


def test_the_application_may_use_the_tables_of_later_migrations(app: Connection) -> None:
    as_owner(app, sql.SQL("create table kb.later (id bigint generated always as identity, n int)"))
    as_owner(app, sql.SQL("create table core.later (n int)"))
    assert app.execute("insert into kb.later (n) values (1), (2)").rowcount == 2
    assert app.execute("update kb.later set n = 3").rowcount == 2
    assert app.execute("delete from kb.later").rowcount == 2
    app.execute("select from core.later")
    assert_refused(app, sql.SQL("insert into core.later values (1)"))


def test_the_functions_of_the_policies_are_inlined(app: Connection) -> None:
    """A function with a SET clause would stay a call; the plan shows the setting itself."""
    plan = "\n".join(
        line for (line,) in app.execute("explain verbose select kb.current_organization()")
    )
    assert "current_setting('app.current_organization_id'" in plan
