"""Isolation: what the application reaches of each table, and of whom.

Each cell of tables, commands and places is decided by what the facts of the schema say, written
down here and not asked of the catalogue. A refusal counts only with the proof that the attempt was
a real one: the owner, who is not bound, does the same and it works.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

import pytest
from psycopg import sql
from psycopg.errors import (
    ForeignKeyViolation,
    InsufficientPrivilege,
    InvalidTextRepresentation,
    UniqueViolation,
)

from headwater.testing.context import as_application
from headwater.testing.rows import Row, insert
from tests.e2e.factories import Factories
from tests.e2e.helpers import (
    Connection,
    change,
    count,
    drafted,
    key_of,
    one,
    parents_in,
    plan_of,
    refused,
    working_in,
)
from tests.kb_facts import COMMANDS, NAMES, columns_of, keys_of, may

# --- the facts ----------------------------------------------------------------------------------

# Tables without row security for it: people, and a log that takes what anybody writes.
OF_EVERYBODY = {"core.user_profiles", "core.user_emails", "kb.audit_log"}
# Tables of an organization that know no project.
OF_THE_ORGANIZATION = {"kb.orgs", "kb.organization_memberships"}
# Tables with both columns, organization_id and project_id.
WITH_BOTH = [t for t in NAMES if {"organization_id", "project_id"} <= columns_of(t).keys()]
PROJECT_MAY_BE_NULL = [t for t in WITH_BOTH if not columns_of(t)["project_id"].not_null]
TENANTS = tuple(table for table in NAMES if table not in OF_EVERYBODY)


class Place(StrEnum):
    """Whose row it is, seen from whom the application works for."""

    OWN = "own"
    ANOTHER_ORGANIZATION = "another organization"
    ANOTHER_PROJECT = "another project"
    NO_CONTEXT = "no context"


class Outcome(StrEnum):
    """How an attempt ends."""

    WORKS = "works"
    HIDDEN = "no row is found"
    POLICY = "a policy refuses the row"
    PRIVILEGE = "the privilege is missing"


def expected(table: str, command: str, place: Place) -> Outcome:
    """Say what the facts of the schema decide for one cell."""
    if not may(command, table):
        return Outcome.PRIVILEGE
    reached = (
        place is Place.OWN
        or table in OF_EVERYBODY
        or (place is Place.ANOTHER_PROJECT and table in OF_THE_ORGANIZATION)
    )
    if reached:
        return Outcome.WORKS
    return Outcome.POLICY if command == "insert" else Outcome.HIDDEN


# --- attempts -----------------------------------------------------------------------------------

Attempt = Callable[[Connection], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A project whose rows are tried, another one of its organization, and one of another."""

    project: Row
    elsewhere: Row
    stranger: Row


@pytest.fixture
def world(project: Row, elsewhere: Row, stranger: Row) -> World:
    return World(project=project, elsewhere=elsewhere, stranger=stranger)


def contexts(place: Place, world: World) -> tuple[dict[str, Any], ...]:
    """Give the contexts in which a row of the world's project is in such a place."""
    project, elsewhere, stranger = world.project, world.elsewhere, world.stranger
    organization = project.organization_id
    return {
        Place.OWN: (
            {"organization": organization},
            {"organization": organization, "project": project},
        ),
        # With the project of the row set as well: the organization decides.
        Place.ANOTHER_ORGANIZATION: (
            {"organization": stranger.organization_id},
            {"organization": stranger.organization_id, "project": stranger},
            {"organization": stranger.organization_id, "project": project},
        ),
        Place.ANOTHER_PROJECT: ({"organization": organization, "project": elsewhere},),
        Place.NO_CONTEXT: ({"organization": None}, {"organization": None, "project": project}),
    }[place]


def attempts_on(make: Factories, table: str, project: Row) -> dict[str, Attempt]:
    """Give a statement for each command: on a row of the project that is there, or a new one."""
    row = {
        "kb.orgs": lambda: Row("kb.orgs", {"id": project.organization_id}),
        "kb.projects": lambda: project,
    }.get(table, lambda: make.one(table, **parents_in(make, table, project)))()
    new = drafted(make, table, **parents_in(make, table, project))
    name = sql.Identifier(*table.split("."))
    where = sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value))
        for column, value in key_of(row).items()
    )
    statements = {
        "select": sql.SQL("select from {} where {}").format(name, where),
        "update": sql.SQL("update {} set created_at = '2020-02-02' where {}").format(name, where),
        "delete": sql.SQL("delete from {} where {}").format(name, where),
    }

    def run(statement: sql.Composed) -> Attempt:
        return lambda connection: connection.execute(statement).rowcount

    return {command: run(statement) for command, statement in statements.items()} | {
        "insert": lambda connection: len([insert(connection, table, **new)])
    }


def outcome(db: Connection, attempt: Attempt, context: dict[str, Any] | None) -> Outcome:
    """Try it in a savepoint that is rolled back; without a context as the owner."""
    acting = nullcontext(db) if context is None else as_application(db, **context)
    with db.transaction(force_rollback=True):
        try:
            with acting:
                return Outcome.WORKS if attempt(db) == 1 else Outcome.HIDDEN
        except InsufficientPrivilege as error:
            of_policy = error.diag.source_function == "ExecWithCheckOptions"
            return Outcome.POLICY if of_policy else Outcome.PRIVILEGE
    raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """A cell that is not as the facts say, or that nothing proves."""

    place: Place
    command: str
    why: str

    @property
    def cell(self) -> tuple[Place, str]:
        return self.place, self.command

    def __str__(self) -> str:
        return f"{self.command}, {self.place}: {self.why}"


def wrong_cells(
    db: Connection, table: str, attempts: dict[str, Attempt], world: World
) -> list[Flaw]:
    """Try each cell of these attempts on a table, in each context of its place."""
    wrong = []
    for place, command in product(Place, attempts):
        for context in contexts(place, world):
            want = expected(table, command, place)
            if (table, command) == ("kb.projects", "insert") and context.get("project"):
                # A new project is another one than the one that is set.
                want = Outcome.POLICY
            found = outcome(db, attempts[command], context)
            if found is not want:
                why = f"with {[*context]} {found}, not {want}"
                wrong.append(Flaw(place=place, command=command, why=why))
    return wrong


def cells_without_proof(db: Connection, table: str, attempts: dict[str, Attempt]) -> list[Flaw]:
    """Find each refusal of something that the owner cannot do either."""
    return [
        Flaw(place=place, command=command, why="refused to everybody, which proves nothing")
        for command, attempt in attempts.items()
        if outcome(db, attempt, None) is not Outcome.WORKS
        for place in Place
        if expected(table, command, place) is not Outcome.WORKS
    ]


@pytest.mark.parametrize("table", NAMES)
def test_the_application_reaches_what_is_its_own_and_nothing_else(
    make: Factories, world: World, table: str, record_property: Callable[[str, object], None]
) -> None:
    cells, decided = len(Place) * len(COMMANDS), 0
    try:
        attempts = attempts_on(make, table, world.project)
        flaws = wrong_cells(make.connection, table, attempts, world)
        flaws += cells_without_proof(make.connection, table, attempts)
        decided = cells - len({flaw.cell for flaw in flaws})
    finally:
        record_property("isolation", (decided, cells))
    assert not flaws, "\n".join(map(str, flaws))


def test_every_table_has_its_cells(db: Connection) -> None:
    found = db.execute(
        "select schemaname || '.' || tablename from pg_tables where schemaname in ('kb', 'core')"
    )
    assert {name for (name,) in found} == set(NAMES), "a table's facts are in tests/kb_facts.py"
    assert len(Place) * len(COMMANDS) == 16  # (of 37 tables: 592)


def test_without_a_setting_that_was_ever_made_nothing_is_seen(connection: Connection) -> None:
    """A setting that was never made is null, one that was is empty: neither is a way in."""
    make = Factories(connection)
    project = make.project()
    for table in TENANTS:
        make.one(table, **parents_in(make, table, project))
    connection.execute("set role app_rls")
    seen = {t for t in TENANTS if may("select", t) and count(connection, t)}
    assert seen == set()
    [(never,)] = connection.execute("select current_setting('app.current_organization_id', true)")
    assert never is None


# --- the attempts have teeth --------------------------------------------------------------------


@pytest.mark.parametrize("table", TENANTS)
def test_a_policy_that_lets_everything_through_is_noticed(
    db: Connection, make: Factories, world: World, table: str
) -> None:
    """Whatever the application may do at all is tried."""
    attempts = attempts_on(make, table, world.project)
    allowed = {command: attempts[command] for command in attempts if may(command, table)}
    opened = sql.SQL("create policy open on {} to app_rls using (true) with check (true)")
    db.execute(opened.format(sql.Identifier(*table.split("."))))
    noticed = {flaw.cell for flaw in wrong_cells(db, table, allowed, world)}
    places = set(Place) - {Place.OWN}
    if table in OF_THE_ORGANIZATION:
        places -= {Place.ANOTHER_PROJECT}
    assert noticed >= set(product(places, allowed))


# --- naming what belongs to others --------------------------------------------------------------

# A reference that has no foreign key, on purpose, and that a policy follows all the same.
FOLLOWED_WITHOUT_KEY = {("kb.merge_provenance", "child_version_id")}

# The columns of kb that refer to a table of kb.
REFERENCES = FOLLOWED_WITHOUT_KEY | {
    (table, column)
    for table in NAMES
    for column, key in keys_of(table).items()
    if table.startswith("kb.") and key.parent.startswith("kb.")
}


def refuses(db: Connection, context: dict[str, Any], attempt: Attempt) -> bool:
    """Say whether a policy, a privilege or a foreign key refuses it.

    A duplicate key would not be a refusal: the row came as far as the index, and learned something.
    """
    with db.transaction(force_rollback=True):
        try:
            with db.transaction(), as_application(db, **context):
                return attempt(db) == 0
        except (InsufficientPrivilege, ForeignKeyViolation):
            return True
        except UniqueViolation:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointing:
    """Own rows that name a stranger's parent in one column: new ones, and one that is there."""

    make: Factories
    table: str
    own: Row

    def refusals(self, stranger: Row, context: dict[str, Any]) -> dict[str, bool]:
        """Try each column, inserting and updating: which attempt was refused."""
        make, table, db = self.make, self.table, self.make.connection
        row = make.one(table, **parents_in(make, table, self.own))
        mine = drafted(make, table, **parents_in(make, table, self.own))
        theirs = drafted(make, table, **parents_in(make, table, stranger))
        found = {}
        for column in sorted(column for of, column in REFERENCES if of == table):
            if mine[column] != theirs[column]:  # (else: two projects of one organization)
                new = mine | {column: theirs[column]}
                found[f"insert {column}"] = refuses(db, context, _insertion(table, new))
                found[f"update {column}"] = refuses(
                    db, context, _change(row, column, theirs[column])
                )
        return found


def _insertion(table: str, new: dict[str, Any]) -> Attempt:
    return lambda connection: len([insert(connection, table, **new)])


def _change(row: Row, column: str, value: object) -> Attempt:
    return lambda connection: len([change(connection, row, **{column: value})])


@pytest.mark.parametrize("table", [table for table in TENANTS if table != "kb.orgs"])
def test_no_row_names_a_parent_that_belongs_to_others(
    make: Factories,
    world: World,
    table: str,
    record_property: Callable[[str, object], None],
) -> None:
    organization = world.project.organization_id
    rows = Pointing(make=make, table=table, own=world.project)
    others = rows.refusals(world.stranger, {"organization": organization})
    found = {f"{what} of another organization": ended for what, ended in others.items()}
    if table not in OF_THE_ORGANIZATION:
        narrowed = {"organization": organization, "project": world.project}
        sisters = rows.refusals(world.elsewhere, narrowed)
        found |= {f"{what} of another project": ended for what, ended in sisters.items()}
    record_property("strangers", (sum(found.values()), len(found)))
    assert found
    assert all(found.values()), [what for what, ended in found.items() if not ended]


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("kb.documents", "documents_parent_fkey"),
        ("kb.branches", "branches_parent_fkey"),
        ("kb.product_versions", "product_versions_base_fkey"),
        ("kb.graph_objects", "graph_objects_branch_fkey"),
        ("kb.graph_relationships", "graph_relationships_branch_fkey"),
        ("kb.tags", "tags_product_version_fkey"),
        ("kb.notifications", "notifications_project_fkey"),
        ("kb.settings", "settings_project_fkey"),
    ],
)
def test_without_its_composite_key_a_row_could_name_a_strangers_parent(
    make: Factories, world: World, table: str, key: str
) -> None:
    dropped = sql.SQL("alter table {} drop constraint {}")
    make.connection.execute(dropped.format(sql.Identifier(*table.split(".")), sql.Identifier(key)))
    rows = Pointing(make=make, table=table, own=world.project)
    context = {"organization": world.project.organization_id}
    assert not all(rows.refusals(world.stranger, context).values())


@pytest.mark.parametrize("table", WITH_BOTH)
def test_a_copy_of_a_strangers_row_is_refused_before_a_unique_index_answers(
    db: Connection, make: Factories, project: Row, stranger: Row, table: str
) -> None:
    """An index answers before a foreign key: it must not be asked which names are taken."""
    theirs = dict(make.one(table, **parents_in(make, table, stranger)))
    copy = theirs | {"organization_id": project.organization_id, "id": make.organization().id}
    copy = {name: value for name, value in copy.items() if name != "fts"}
    if "token" in copy:  # unique everywhere, and a secret: who knows it has it
        copy["token"] = "copy"
    context = {"organization": project.organization_id}
    assert refuses(db, context, lambda c: len([insert(c, table, **copy)]))


# --- what is special ----------------------------------------------------------------------------


@pytest.mark.parametrize("table", PROJECT_MAY_BE_NULL)
def test_rows_without_a_project_are_the_organizations_whichever_project_is_set(
    db: Connection, make: Factories, world: World, table: str
) -> None:
    project = world.project
    parents = {"organization": project.organization_id, "project": None}
    row = make.one(table, **parents)
    new = drafted(make, table, **parents)
    attempts: list[Attempt] = [
        lambda c: len([insert(c, table, **new)]),
        *(
            lambda c, text=text: (
                c.execute(
                    sql.SQL(text).format(sql.Identifier(*table.split("."))), [row.id]
                ).rowcount
            )
            for text in (
                "select from {} where id = %s",
                "update {} set created_at = now() where id = %s",
                "delete from {} where id = %s",
            )
        ),
    ]
    for attempt in attempts:
        for narrowed in (None, project, world.elsewhere):
            context = {"organization": project.organization_id, "project": narrowed}
            assert outcome(db, attempt, context) is Outcome.WORKS
        for organization in (world.stranger.organization_id, None):
            hidden = {"organization": organization}
            assert outcome(db, attempt, hidden) is not Outcome.WORKS


def test_a_setting_that_is_no_uuid_is_an_error_and_not_a_way_in(
    db: Connection, make: Factories
) -> None:
    make.document()  # of an empty table nothing need be asked
    with (
        pytest.raises(InvalidTextRepresentation),
        as_application(db, organization="all"),
    ):
        db.execute("select from kb.documents")


def test_the_application_neither_makes_nor_changes_nor_empties_tables(
    db: Connection, project: Row
) -> None:
    for statement in (
        "create table kb.mine ()",
        "alter table kb.documents disable row level security",
        "drop policy documents_tenant on kb.documents",
        "truncate kb.documents cascade",
    ):
        with refused(db, InsufficientPrivilege), working_in(db, project):
            db.execute(statement.encode())


def test_the_role_logs_in_nowhere_and_bypasses_nothing(db: Connection) -> None:
    assert db.execute(
        "select rolcanlogin, rolbypassrls, rolsuper, rolcreaterole, rolcreatedb"
        " from pg_roles where rolname = 'app_rls'"
    ).fetchone() == (False, False, False, False, False)


def test_the_application_may_use_the_tables_of_later_migrations(
    db: Connection, project: Row
) -> None:
    db.execute("create table kb.later (id bigint generated always as identity, n int)")
    db.execute("create table core.later (n int)")
    with working_in(db, project):
        assert db.execute("insert into kb.later (n) values (1), (2)").rowcount == 2
        assert db.execute("update kb.later set n = 3").rowcount == 2
        assert db.execute("delete from kb.later").rowcount == 2
        db.execute("select from core.later")
    with refused(db, InsufficientPrivilege), working_in(db, project):
        db.execute("insert into core.later values (1)")


def test_the_functions_of_the_policies_are_inlined_and_run_once_a_query(
    db: Connection, project: Row
) -> None:
    """A function with a SET clause stays a call; what is no sub-select runs for each row."""
    with working_in(db, project):
        plan = plan_of(db, "select from kb.documents")
    assert "InitPlan" in plan
    assert "current_setting('app.current_organization_id'" in plan
    assert one(db, "select count(*) from kb.orgs") >= 1
