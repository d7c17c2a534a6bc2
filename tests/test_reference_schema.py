"""The reference schema keeps its contract: tables, columns, keys, rules, and the checks themselves.

The tables below are written from the facts of the schema, not copied from its SQL: two accounts of
one thing, so that a slip in either is seen.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import (
    CheckViolation,
    ForeignKeyViolation,
    GeneratedAlways,
    NotNullViolation,
    RestrictViolation,
    UniqueViolation,
)

from tests.kb_facts import (
    CLOSED_SETS,
    PRIMARY_KEYS,
    TABLES,
    Column,
    Key,
    expected_columns,
    expected_keys,
    lines_of,
    table_of,
)

Connection = psycopg.Connection[tuple[Any, ...]]
DatabaseMaker = Callable[[], AbstractContextManager[str]]

CHECKS = Path(__file__).parent.parent / "migrations" / "checks"

JSON_DEFAULTS = {
    ("projects", "auto_extract_config"): {
        "enabled_types": None,
        "min_confidence": 0.7,
        "require_review": False,
        "notify_on_complete": True,
        "notification_channels": ["inbox"],
    },
    ("discovery_jobs", "progress"): {
        "current_step": 0,
        "total_steps": 0,
        "message": "Initializing...",
    },
}

# Indexes that somebody's query waits for: the table, and what the definition says after USING.
INDEXES = [
    ("chunks", "hnsw (embedding public.vector_cosine_ops)"),
    ("chunks", "gin (tsv)"),
    ("chunks", "gin (text public.gin_trgm_ops)"),
    ("documents", "gin (integration_metadata)"),
    ("graph_objects", "gin (fts)"),
    ("graph_objects", "hnsw (embedding_vec public.vector_cosine_ops)"),
    ("graph_objects", "btree (canonical_id, version DESC)"),
    ("graph_objects", "btree (branch_id, canonical_id, version DESC)"),
    ("graph_objects", "btree (project_id, branch_id) WHERE (deleted_at IS NULL)"),
    ("graph_objects", "btree (key) WHERE (key IS NOT NULL)"),
    ("graph_objects", "btree (status) WHERE (status IS NOT NULL)"),
    ("graph_relationships", "btree (src_id)"),
    ("graph_relationships", "btree (dst_id)"),
    ("graph_relationships", "btree (canonical_id, version DESC)"),
    ("graph_relationships", "btree (branch_id, canonical_id, version DESC)"),
    ("branch_lineage", "btree (ancestor_branch_id, depth)"),
    (
        "notifications",
        (
            "btree (user_id, importance, created_at DESC)"
            " WHERE ((read_at IS NULL) AND (cleared_at IS NULL))"
        ),
    ),
    ("audit_log", "btree (occurred_at)"),
    ("audit_log", "btree (user_id, occurred_at)"),
    ("audit_log", "btree (resource_type, resource_id)"),
    ("audit_log", "btree (event_type)"),
    ("audit_log", "gin (details)"),
]


COLUMNS = """
select a.attname,
    replace(
        replace(pg_catalog.format_type(a.atttypid, a.atttypmod), 'public.', ''),
        'timestamp with time zone', 'timestamptz'
    ),
    a.attnotnull,
    case
        when a.attgenerated <> '' then 'generated'
        when a.attidentity <> '' then 'identity'
        else pg_catalog.pg_get_expr(d.adbin, d.adrelid)
    end
from pg_catalog.pg_attribute a
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
"""

# A key is named by the column that is its own: not organization_id, unless nothing else is there.
KEYS = """
select
    coalesce(
        max(a.attname) filter (where a.attname not in ('organization_id', 'project_id')),
        max(a.attname) filter (where a.attname = 'project_id'),
        max(a.attname)
    ),
    k.confrelid::regclass::text,
    translate(k.confdeltype::text, 'cnra', 'CNRA'),
    count(*) > 1 and bool_or(a.attname = 'organization_id')
from pg_catalog.pg_constraint k
join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)
where k.contype = 'f' and k.conrelid = %s::regclass
group by k.oid, k.confrelid, k.confdeltype
"""


def default_in_words(expression: str | None) -> str | None:
    """Strip quotes and casts: 'pending'::text -> pending."""
    if expression is None:
        return None
    quoted = re.fullmatch(r"'(.*)'::[\w\[\]]+", expression, flags=re.DOTALL)
    return quoted[1] if quoted else expression


# Fixtures and helpers


@pytest.fixture(scope="module")
def reference_url(reference_database: DatabaseMaker) -> Iterator[str]:
    with reference_database() as url:
        yield url


@pytest.fixture
def db(reference_url: str) -> Iterator[Connection]:
    """A session of the owner, with an empty search_path; all it does is rolled back."""
    with psycopg.connect(reference_url) as connection:
        connection.execute("set search_path = ''")
        yield connection
        connection.rollback()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An organization with a project."""

    organization_id: UUID
    project_id: UUID


@pytest.fixture
def tenant(db: Connection) -> Tenant:
    return new_tenant(db, "Acme")


def new_tenant(db: Connection, name: str) -> Tenant:
    organization_id = insert(db, "kb.orgs", name=name)
    project_id = insert(db, "kb.projects", organization_id=organization_id, name="Main")
    return Tenant(organization_id=organization_id, project_id=project_id)


def insert(db: Connection, table: str, tenant: Tenant | None = None, /, **values: object) -> UUID:
    """Insert a row, of the tenant if one is given, and return its id."""
    if tenant:
        values = {
            "organization_id": tenant.organization_id,
            "project_id": tenant.project_id,
            **values,
        }
    query = sql.SQL("insert into {} ({}) values ({}) returning {}").format(
        sql.Identifier(*table.split(".")),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.Literal(value) for value in values.values()),
        sql.Identifier("id" if table_has_id(table) else "created_at"),
    )
    return cast("UUID", one(db, query))


def table_has_id(table: str) -> bool:
    return f"{table} -id" not in TABLES or table == "kb.audit_log"


def new_user(db: Connection) -> UUID:
    return insert(db, "core.user_profiles", zitadel_user_id=str(uuid4()))


def one(db: Connection, query: LiteralString | bytes | sql.Composed, *parameters: object) -> Any:
    """Return the one value of the one row."""
    row = db.execute(query, parameters or None).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def refused(db: Connection, error: type[psycopg.Error], constraint: str = "") -> Iterator[None]:
    """Assert that the body fails so, by the constraint of that name; the transaction goes on."""
    with pytest.raises(error) as caught, db.transaction():
        yield
    assert constraint in (caught.value.diag.constraint_name or "")


# The outline


def test_there_are_35_tables_in_kb_and_2_in_core(db: Connection) -> None:
    names = {table_of(heading) for heading in TABLES}
    found = db.execute(
        "select n.nspname || '.' || c.relname from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('kb', 'core') and c.relkind in ('r', 'p', 'v', 'm', 'f')"
    )
    assert {name for (name,) in found} == names
    assert [sum(n.startswith(s) for n in names) for s in ("kb.", "core.")] == [35, 2]


@pytest.mark.parametrize("heading", TABLES)
def test_columns_are_what_the_facts_say(db: Connection, heading: str) -> None:
    table = table_of(heading)
    found = {
        name: Column(type=type_, not_null=not_null, default=default_in_words(default))
        for name, type_, not_null, default in db.execute(COLUMNS, [table])
    }
    expected = expected_columns(heading)
    for name, column in expected.items():
        if column.default == "json":  # compared as JSON below
            assert found.pop(name).type == "jsonb"
    assert found == {n: c for n, c in expected.items() if c.default != "json"}


@pytest.mark.parametrize("heading", TABLES)
def test_foreign_keys_are_what_the_facts_say(db: Connection, heading: str) -> None:
    rows = db.execute(KEYS, [table_of(heading)]).fetchall()
    found = {
        name: Key(parent=parent, on_delete=on_delete, carries_organization=carries)
        for name, parent, on_delete, carries in rows
    }
    assert found == expected_keys(heading)
    assert len(found) == len(rows), "two keys on one column"


@pytest.mark.parametrize(("table", "column"), JSON_DEFAULTS)
def test_json_defaults_are_what_the_facts_say(db: Connection, table: str, column: str) -> None:
    expression = one(
        db,
        "select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d"
        " join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum"
        " where d.adrelid = %s::regclass and a.attname = %s",
        f"kb.{table}",
        column,
    )
    value = one(db, sql.SQL("select {}").format(sql.SQL(expression)))
    assert value == JSON_DEFAULTS[table, column]


@pytest.mark.parametrize("heading", TABLES)
def test_primary_keys_are_what_the_facts_say(db: Connection, heading: str) -> None:
    table = table_of(heading)
    columns = one(
        db,
        "select array_agg(a.attname::text order by array_position(k.conkey, a.attnum))"
        " from pg_constraint k"
        " join pg_attribute a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)"
        " where k.conrelid = %s::regclass and k.contype = 'p'",
        table,
    )
    assert columns == PRIMARY_KEYS.get(table, ["id"])


@pytest.mark.parametrize("column", CLOSED_SETS)
def test_closed_sets_hold_exactly_their_words(db: Connection, column: str) -> None:
    table, name = column.split(".")
    definition = one(
        db,
        "select pg_get_constraintdef(oid) from pg_constraint"
        " where conrelid = %s::regclass and conname = %s and contype = 'c' and convalidated",
        f"kb.{table}",
        f"{table}_{name}_check",
    )
    assert set(re.findall(r"'(\w+)'", definition)) == set(CLOSED_SETS[column].split())


def test_a_word_outside_its_closed_set_is_refused(db: Connection, tenant: Tenant) -> None:
    with refused(db, CheckViolation, "system_process_logs_level_check"):
        insert(
            db,
            "kb.system_process_logs",
            tenant,
            process_id="1",
            process_type="t",
            level="warning",
            message="m",
        )


@pytest.mark.parametrize(("table", "definition"), INDEXES)
def test_indexes_that_queries_wait_for_are_there(
    db: Connection, table: str, definition: str
) -> None:
    found = db.execute("select indexdef from pg_indexes where tablename = %s", [table])
    assert definition in {text.split(" USING ")[1] for (text,) in found}


def test_constraints_and_indexes_are_named_after_their_table(db: Connection) -> None:
    """Every name is written out in the migrations; a generated one would not follow the pattern."""
    strays = db.execute(
        "select c.relname, k.conname from pg_constraint k join pg_class c on c.oid = k.conrelid"
        " where c.relnamespace in ('kb'::regnamespace, 'core'::regnamespace)"
        " and (not starts_with(k.conname, c.relname || '_')"
        " or k.conname ~ '_(fkey|check|key)[0-9]')"
        " union all"
        " select c.relname, i.relname from pg_index x join pg_class c on c.oid = x.indrelid"
        " join pg_class i on i.oid = x.indexrelid"
        " where c.relnamespace in ('kb'::regnamespace, 'core'::regnamespace)"
        " and (not starts_with(i.relname, c.relname || '_') or i.relname !~ '_(pkey|key|idx)$')"
    ).fetchall()
    assert strays == []


def test_names_of_the_past_occur_nowhere(db: Connection) -> None:
    assert (
        one(
            db,
            "select count(*) from pg_attribute where attname in ('subject_id', 'org_id')"
            " and not attisdropped",
        )
        == 0
    )


def test_columns_that_mislead_or_lack_a_key_are_explained(db: Connection) -> None:
    """supersedes_id names the successor, and some ids have no foreign key on purpose."""
    unexplained = db.execute(
        "select a.attrelid::regclass, a.attname from pg_attribute a"
        " join pg_class c on c.oid = a.attrelid and c.relkind = 'r'"
        " and c.relnamespace = 'kb'::regnamespace"
        " where a.attname in ('supersedes_id', 'canonical_id', 'src_id', 'dst_id',"
        " 'object_canonical_id', 'object_version_id', 'child_version_id', 'parent_version_id',"
        " 'active_import_job_id')"
        " and (col_description(a.attrelid, a.attnum) is null"
        " or coalesce(obj_description(a.attrelid, 'pg_class'), '')"
        " !~ 'foreign\\s+key')"
    ).fetchall()
    assert unexplained == []


# Triggers


@pytest.mark.parametrize("heading", [heading for heading in TABLES if heading.endswith(" u")])
def test_updated_at_is_kept_by_the_one_shared_trigger(db: Connection, heading: str) -> None:
    assert (
        one(
            db,
            "select count(*) from pg_trigger where tgrelid = %s::regclass"
            " and tgfoid = 'core.set_updated_at'::regproc and tgenabled = 'O'",
            table_of(heading),
        )
        == 1
    )


def test_updated_at_is_the_moment_of_each_update(db: Connection, tenant: Tenant) -> None:
    """Two updates in one transaction are two moments, and no client sets the time."""
    times = [
        one(db, f"update kb.orgs set updated_at = {forged} returning updated_at")
        for forged in ("now()", "'2000-01-01'")
    ]
    assert one(db, "select now()") < times[0] < times[1]


@pytest.mark.parametrize("content", ["water", "", None, "\N{DROPLET}"])
def test_content_hash_is_the_sha_256_of_the_content(
    db: Connection, tenant: Tenant, content: str | None
) -> None:
    document = insert(db, "kb.documents", tenant, content=content)
    expected = hashlib.sha256((content or "").encode()).hexdigest()
    assert one(db, "select content_hash from kb.documents where id = %s", document) == expected


def test_content_hash_cannot_be_forged(db: Connection, tenant: Tenant) -> None:
    honest = hashlib.sha256(b"water").hexdigest()
    insert(db, "kb.documents", tenant, content="water", content_hash="forged")
    assert one(db, "select content_hash from kb.documents") == honest
    forged = "update kb.documents set content_hash = 'forged' returning content_hash"
    assert one(db, forged) == honest
    changed = one(db, "update kb.documents set content = 'wine' returning content_hash")
    assert changed == hashlib.sha256(b"wine").hexdigest()


def test_chunks_keep_their_words_for_full_text_search(db: Connection, tenant: Tenant) -> None:
    document = insert(db, "kb.documents", tenant)
    insert(db, "kb.chunks", document_id=document, chunk_index=0, text="The Rivers run", tsv="x")
    assert one(db, "select tsv::text from kb.chunks") == "'rivers':2 'run':3 'the':1"
    assert one(db, "update kb.chunks set tsv = null returning tsv is not null")
    assert one(db, "update kb.chunks set text = 'lake' returning tsv::text") == "'lake':1"


def test_graph_objects_are_found_by_key_type_and_properties(db: Connection, tenant: Tenant) -> None:
    insert(db, "kb.graph_objects", tenant, type="River", key="R-7", properties='{"name": "Aare"}')
    for word in ("river", "r-7", "aare"):
        query = "select fts @@ plainto_tsquery('pg_catalog.simple', %s) from kb.graph_objects"
        assert one(db, query, word), word
    with refused(db, GeneratedAlways):
        db.execute("update kb.graph_objects set fts = ''")


# Uniqueness


def test_a_key_has_one_head_on_the_main_line(db: Connection, tenant: Tenant) -> None:
    """There branch_id is null, and two nulls count as equal."""
    first = insert(db, "kb.graph_objects", tenant, type="t", key="k")
    with refused(db, UniqueViolation, "graph_objects_head_key"):
        insert(db, "kb.graph_objects", tenant, type="t", key="k")
    insert(db, "kb.graph_objects", tenant, type="other", key="k")
    db.execute("update kb.graph_objects set supersedes_id = %s where id = %s", [uuid4(), first])
    second = insert(db, "kb.graph_objects", tenant, type="t", key="k", version=2)
    db.execute("update kb.graph_objects set deleted_at = now() where id = %s", [second])
    insert(db, "kb.graph_objects", tenant, type="t", key="k", version=3)


def test_a_key_has_one_head_on_each_branch(db: Connection, tenant: Tenant) -> None:
    branch = insert(db, "kb.branches", tenant, name="draft")
    insert(db, "kb.graph_objects", tenant, type="t", key="k")
    insert(db, "kb.graph_objects", tenant, type="t", key="k", branch_id=branch)
    with refused(db, UniqueViolation, "graph_objects_head_key"):
        insert(db, "kb.graph_objects", tenant, type="t", key="k", branch_id=branch)


def test_objects_without_a_key_are_not_compared(db: Connection, tenant: Tenant) -> None:
    insert(db, "kb.graph_objects", tenant, type="t")
    insert(db, "kb.graph_objects", tenant, type="t")


def test_two_ends_have_one_live_edge_of_a_type(db: Connection, tenant: Tenant) -> None:
    ends = {"src_id": uuid4(), "dst_id": uuid4()}
    insert(db, "kb.graph_relationships", tenant, type="t", **ends)
    with refused(db, UniqueViolation, "graph_relationships_head_key"):
        insert(db, "kb.graph_relationships", tenant, type="t", **ends)
    insert(db, "kb.graph_relationships", tenant, type="t", **ends, deleted_at="now")
    insert(db, "kb.graph_relationships", tenant, type="t", **ends, supersedes_id=uuid4())


@pytest.mark.parametrize("table", ["kb.object_type_schemas", "kb.relationship_type_schemas"])
def test_a_type_has_one_head_in_its_project(db: Connection, tenant: Tenant, table: str) -> None:
    insert(db, table, tenant, type="t", json_schema="{}")
    with refused(db, UniqueViolation, "_head_key"):
        insert(db, table, tenant, type="t", json_schema="{}")
    insert(db, table, tenant, type="t", json_schema="{}", supersedes_id=uuid4())


@pytest.mark.parametrize("level", ["global", "organization", "project"])
def test_a_setting_has_one_value(db: Connection, tenant: Tenant, level: str) -> None:
    """For everyone, for an organization, for a project: nulls count as equal."""
    place = {
        "global": {},
        "organization": {"organization_id": tenant.organization_id},
        "project": {
            "organization_id": tenant.organization_id,
            "project_id": tenant.project_id,
        },
    }
    for values in place.values():
        insert(db, "kb.settings", key="theme", **values)
    with refused(db, UniqueViolation, "settings_organization_id_project_id_key_key"):
        insert(db, "kb.settings", key="theme", **place[level])


def test_a_setting_of_a_project_names_its_organization(db: Connection, tenant: Tenant) -> None:
    with refused(db, CheckViolation, "settings_project_needs_organization_check"):
        insert(db, "kb.settings", key="theme", project_id=tenant.project_id)


def test_names_are_unique_whatever_their_case(db: Connection, tenant: Tenant) -> None:
    other = new_tenant(db, "Other")  # it too has a project Main
    with refused(db, UniqueViolation, "orgs_name_key"):
        insert(db, "kb.orgs", name="ACME")
    with refused(db, UniqueViolation, "projects_organization_id_name_key"):
        insert(db, "kb.projects", organization_id=tenant.organization_id, name="MAIN")
    for table in ("kb.tags", "kb.product_versions"):
        insert(db, table, tenant, name="v1")
        insert(db, table, other, name="V1")
        with refused(db, UniqueViolation, "_project_id_name_key"):
            insert(db, table, tenant, name="V1")


def test_a_verified_address_belongs_to_one_person_whatever_its_case(db: Connection) -> None:
    add = "insert into core.user_emails (user_id, email, verified) values (%s, %s, %s)"
    db.execute(add, [new_user(db), "ada@example.com", True])
    db.execute(add, [new_user(db), "ada@example.com", False])
    with refused(db, UniqueViolation, "user_emails_verified_email_key"):
        db.execute(add, [new_user(db), "Ada@Example.com", True])


def test_pairs_are_unique(db: Connection, tenant: Tenant) -> None:
    user = new_user(db)
    pack = insert(db, "kb.graph_template_packs", name="crm", version="1")
    project = {"project_id": tenant.project_id}
    organization = {"organization_id": tenant.organization_id}
    document = insert(db, "kb.documents", tenant, content="once")
    schema = {"source": "custom", "json_schema": "{}"}
    rows: list[tuple[str, dict[str, object]]] = [
        ("kb.organization_memberships", {**organization, "user_id": user, "role": "org_admin"}),
        ("kb.project_memberships", {**project, "user_id": user, "role": "project_user"}),
        ("kb.invites", {**organization, "email": "e", "role": "org_admin", "token": "t"}),
        ("kb.chunks", {"document_id": document, "chunk_index": 0, "text": "t"}),
        ("kb.graph_template_packs", {"name": "erp", "version": "1"}),
        ("kb.project_template_packs", {**project, "template_pack_id": pack}),
        ("kb.project_object_type_registry", {**project, "type_name": "t", **schema}),
        ("kb.integrations", {**organization, **project, "name": "clickup", "display_name": "C"}),
        ("kb.branches", {**organization, **project, "name": "draft"}),
        ("kb.embedding_policies", {**project, "object_type": "t"}),
    ]
    for table, row in rows:
        insert(db, table, **row)
        with refused(db, UniqueViolation, "_key"):
            insert(db, table, **row)
    with refused(db, UniqueViolation, "documents_project_id_content_hash_key"):
        insert(db, "kb.documents", tenant, content="once")


def test_an_integration_has_one_sync_state(db: Connection, tenant: Tenant) -> None:
    integration = insert(db, "kb.integrations", tenant, name="clickup", display_name="C")
    insert(db, "kb.clickup_sync_state", integration_id=integration)
    with refused(db, UniqueViolation, "clickup_sync_state_integration_id_key"):
        insert(db, "kb.clickup_sync_state", integration_id=integration)


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_an_object_has_one_open_embedding_job(db: Connection, tenant: Tenant, status: str) -> None:
    thing = insert(db, "kb.graph_objects", tenant, type="t")
    insert(db, "kb.graph_embedding_jobs", object_id=thing)
    for closed in ("failed", "completed", "completed"):
        insert(db, "kb.graph_embedding_jobs", object_id=thing, status=closed)
    with refused(db, UniqueViolation, "graph_embedding_jobs_open_object_id_key"):
        insert(db, "kb.graph_embedding_jobs", object_id=thing, status=status)


# Rules of values


EARLY, LATE = "2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"processed_items": 2, "successful_items": 1}, "processed_items_check"),
        ({"failed_items": 1}, "processed_items_check"),
        ({"total_items": -1}, "items_not_negative_check"),
        ({"failed_items": -1, "successful_items": 1}, "items_not_negative_check"),
        ({"failed_items": 1, "successful_items": -1}, "items_not_negative_check"),
        ({"processed_items": -1, "failed_items": -1}, "items_not_negative_check"),
        ({"started_at": EARLY}, "started_at_check"),
        ({"completed_at": EARLY}, "completed_at_check"),
        ({"started_at": LATE, "completed_at": "2099-01-01T00:00:00Z"}, "completed_at_check"),
    ],
)
def test_an_extraction_job_that_cannot_be_is_refused(
    db: Connection, tenant: Tenant, values: dict[str, object], constraint: str
) -> None:
    with refused(db, CheckViolation, f"object_extraction_jobs_{constraint}"):
        insert(db, "kb.object_extraction_jobs", tenant, source_type="manual", **values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"processed_items": 3, "successful_items": 2, "failed_items": 1, "total_items": 4},
        {"started_at": LATE},
        {"started_at": LATE, "completed_at": LATE},
        {"completed_at": LATE, "status": "cancelled"},
    ],
    ids=["new", "counted", "started", "completed", "cancelled before it started"],
)
def test_an_extraction_job_that_can_be_is_kept(
    db: Connection, tenant: Tenant, values: dict[str, object]
) -> None:
    insert(db, "kb.object_extraction_jobs", tenant, source_type="manual", **values)


@pytest.mark.parametrize("name", ["", "  ", "\n\t"])
def test_a_tag_is_not_blank(db: Connection, tenant: Tenant, name: str) -> None:
    with refused(db, CheckViolation, "tags_name_not_blank_check"):
        insert(db, "kb.tags", tenant, name=name)


@pytest.mark.parametrize("confidence", [-0.1, 1.1])
def test_a_confidence_is_between_0_and_1(db: Connection, tenant: Tenant, confidence: float) -> None:
    job = insert(db, "kb.discovery_jobs", tenant, status="pending", kb_purpose="p")
    candidate = {"job_id": job, "batch_number": 1, "type_name": "t", "inferred_schema": "{}"}
    entry = {"project_id": tenant.project_id, "type_name": "t", "source": "discovered"}
    for bound in (0, 1):
        insert(db, "kb.discovery_type_candidates", **candidate, confidence=bound)
    with refused(db, CheckViolation, "discovery_type_candidates_confidence_check"):
        insert(db, "kb.discovery_type_candidates", **candidate, confidence=confidence)
    with refused(db, CheckViolation, "registry_discovery_confidence_check"):
        insert(
            db,
            "kb.project_object_type_registry",
            **entry,
            json_schema="{}",
            discovery_confidence=confidence,
        )


def test_a_depth_is_not_negative(db: Connection, tenant: Tenant) -> None:
    branch = insert(db, "kb.branches", tenant, name="draft")
    with refused(db, CheckViolation, "branch_lineage_depth_check"):
        insert(db, "kb.branch_lineage", branch_id=branch, ancestor_branch_id=branch, depth=-1)


def test_a_discovery_job_says_its_status(db: Connection, tenant: Tenant) -> None:
    """It has no default: whoever makes the job knows where it begins."""
    with refused(db, NotNullViolation):
        insert(db, "kb.discovery_jobs", tenant, kb_purpose="p")


def test_ids_of_the_audit_log_are_given_by_the_database(db: Connection) -> None:
    entry = {"event_type": "e", "action": "a", "endpoint": "/", "http_method": "GET"}
    insert(db, "kb.audit_log", **entry, outcome="denied")
    with refused(db, GeneratedAlways):
        insert(db, "kb.audit_log", **entry, outcome="denied", id=7)


# Keys between tenants, and what happens on delete


TENANT_TABLES = sorted(
    table_of(heading)
    for heading in TABLES
    if {"organization_id", "project_id"} <= {name for name, _ in lines_of(heading)}
)


@pytest.mark.parametrize("table", TENANT_TABLES)
def test_the_key_to_the_project_carries_the_organization(db: Connection, table: str) -> None:
    definitions = db.execute(
        "select pg_get_constraintdef(oid) from pg_constraint"
        " where conrelid = %s::regclass and contype = 'f'",
        [table],
    )
    assert (
        "FOREIGN KEY (organization_id, project_id)"
        " REFERENCES kb.projects(organization_id, id) ON DELETE CASCADE"
    ) in {definition for (definition,) in definitions}


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("kb.documents", "parent_document_id", {}),
        ("kb.branches", "parent_branch_id", {"name": "n"}),
        ("kb.product_versions", "base_product_version_id", {"name": "n"}),
    ],
)
def test_a_parent_of_another_organization_is_refused_even_to_the_owner(
    db: Connection, tenant: Tenant, table: str, column: str, values: dict[str, object]
) -> None:
    parent = insert(db, table, new_tenant(db, "Other"), **values)
    with refused(db, ForeignKeyViolation):
        insert(db, table, tenant, **values, **{column: parent})
    with refused(db, ForeignKeyViolation):
        insert(db, table, tenant, **values, project_id=new_tenant(db, "Third").project_id)


def test_a_project_with_rows_cannot_be_moved_to_another_organization(
    db: Connection, tenant: Tenant
) -> None:
    """Keys do not cascade on update: its rows would change hands unseen."""
    other = new_tenant(db, "Other")
    move = "update kb.projects set organization_id = %s, name = 'Moved' where id = %s"
    insert(db, "kb.documents", tenant)
    with refused(db, ForeignKeyViolation):
        db.execute(move, [other.organization_id, tenant.project_id])
    db.execute("delete from kb.documents")
    db.execute(move, [other.organization_id, tenant.project_id])


def test_deleting_a_document_takes_its_chunks_and_frees_its_children(
    db: Connection, tenant: Tenant
) -> None:
    parent = insert(db, "kb.documents", tenant, content="archive")
    insert(db, "kb.chunks", document_id=parent, chunk_index=0, text="t")
    child = insert(db, "kb.documents", tenant, content="file", parent_document_id=parent)
    db.execute("delete from kb.documents where id = %s", [parent])
    assert one(db, "select count(*) from kb.chunks") == 0
    assert db.execute(
        "select id, organization_id, project_id, parent_document_id from kb.documents"
    ).fetchall() == [(child, tenant.organization_id, tenant.project_id, None)]


def test_deleting_a_conversation_keeps_the_tool_calls_and_not_the_messages(
    db: Connection, tenant: Tenant
) -> None:
    conversation = insert(db, "kb.chat_conversations", tenant, title="t")
    insert(db, "kb.chat_messages", conversation_id=conversation, role="user", content="c")
    call = {"session_id": "s", "turn_number": 1, "tool_name": "t", "status": "success"}
    insert(db, "kb.mcp_tool_calls", tenant, conversation_id=conversation, **call)
    db.execute("delete from kb.chat_conversations")
    assert one(db, "select count(*) from kb.chat_messages") == 0
    assert db.execute(
        "select organization_id, conversation_id from kb.mcp_tool_calls"
    ).fetchall() == [(tenant.organization_id, None)]


def test_deleting_a_product_version_takes_its_tags_and_members(
    db: Connection, tenant: Tenant
) -> None:
    version = insert(db, "kb.product_versions", tenant, name="v1")
    insert(db, "kb.tags", tenant, name="t", product_version_id=version)
    insert(
        db,
        "kb.product_version_members",
        product_version_id=version,
        object_canonical_id=uuid4(),
        object_version_id=uuid4(),
    )
    insert(db, "kb.product_versions", tenant, name="v2", base_product_version_id=version)
    db.execute("delete from kb.product_versions where id = %s", [version])
    assert one(db, "select count(*) from kb.tags") == 0
    assert one(db, "select count(*) from kb.product_version_members") == 0
    assert one(db, "select base_product_version_id from kb.product_versions") is None


def test_an_installed_pack_cannot_be_deleted(db: Connection, tenant: Tenant) -> None:
    pack = insert(db, "kb.graph_template_packs", name="crm", version="1")
    installed = insert(
        db, "kb.project_template_packs", project_id=tenant.project_id, template_pack_id=pack
    )
    with refused(db, RestrictViolation, "project_template_packs_template_pack_fkey"):
        db.execute("delete from kb.graph_template_packs")
    db.execute("delete from kb.project_template_packs where id = %s", [installed])
    db.execute("delete from kb.graph_template_packs")


def test_a_pack_and_its_discovery_job_forget_each_other(db: Connection, tenant: Tenant) -> None:
    job = insert(db, "kb.discovery_jobs", tenant, status="completed", kb_purpose="p")
    pack = insert(
        db,
        "kb.graph_template_packs",
        name="found",
        version="1",
        source="discovered",
        discovery_job_id=job,
    )
    db.execute("update kb.discovery_jobs set template_pack_id = %s", [pack])
    with db.transaction(force_rollback=True):
        db.execute("delete from kb.graph_template_packs")
        assert one(db, "select template_pack_id from kb.discovery_jobs") is None
    db.execute("delete from kb.discovery_jobs")
    assert one(db, "select discovery_job_id from kb.graph_template_packs") is None


def test_deleting_a_branch_brings_its_objects_to_the_main_line(
    db: Connection, tenant: Tenant
) -> None:
    branch = insert(db, "kb.branches", tenant, name="draft")
    insert(db, "kb.graph_objects", tenant, type="t", key="k", branch_id=branch)
    with db.transaction(force_rollback=True):
        db.execute("delete from kb.branches")
        assert one(db, "select branch_id from kb.graph_objects") is None
    insert(db, "kb.graph_objects", tenant, type="t", key="k")
    with refused(db, UniqueViolation, "graph_objects_head_key"):
        db.execute("delete from kb.branches")


def test_a_person_who_leaves_leaves_their_work(db: Connection, tenant: Tenant) -> None:
    user = new_user(db)
    integration = {"name": "clickup", "display_name": "C"}
    insert(db, "kb.integrations", tenant, created_by=user, **integration)
    project_id = tenant.project_id
    insert(db, "kb.project_memberships", project_id=project_id, user_id=user, role="project_user")
    insert(db, "kb.notifications", tenant, user_id=user, title="t", message="m")
    db.execute("delete from core.user_profiles")
    assert one(db, "select created_by from kb.integrations") is None
    assert one(db, "select count(*) from kb.project_memberships") == 0
    assert one(db, "select count(*) from kb.notifications") == 0


@pytest.mark.parametrize("table", ["kb.projects", "kb.orgs"])
def test_a_project_or_organization_goes_with_all_that_it_has(
    db: Connection, tenant: Tenant, table: LiteralString
) -> None:
    """Also where a branch and the main line hold heads of one key, which could not be merged."""
    branch = insert(db, "kb.branches", tenant, name="draft")
    insert(db, "kb.graph_objects", tenant, type="t", key="k", branch_id=branch)
    thing = insert(db, "kb.graph_objects", tenant, type="t", key="k")
    insert(db, "kb.graph_embedding_jobs", object_id=thing)
    parent = insert(db, "kb.documents", tenant, content="archive")
    insert(db, "kb.documents", tenant, content="file", parent_document_id=parent)
    insert(db, "kb.chunks", document_id=parent, chunk_index=0, text="t")
    insert(db, "kb.settings", tenant, key="theme")
    version = insert(db, "kb.product_versions", tenant, name="v1")
    insert(db, "kb.tags", tenant, name="t", product_version_id=version)
    db.execute(sql.SQL("delete from {}").format(sql.Identifier(*table.split("."))))
    for heading in TABLES:
        if heading.startswith("kb.") and (table, heading) != ("kb.projects", "kb.orgs u"):
            name = sql.Identifier(*table_of(heading).split("."))
            assert one(db, sql.SQL("select count(*) from {}").format(name)) == 0, heading


# The checks


def statements_of_checks() -> dict[str, str]:
    """Return every statement of migrations/checks/*.sql by its sentence."""
    found: dict[str, str] = {}
    for path in sorted(CHECKS.glob("*.sql")):
        text = re.sub(r"^\s*--.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for statement in filter(None, map(str.strip, text.split(";"))):
            sentence = re.search(r' as "([^"]+)"$', statement)
            assert sentence, f"{path.name}: {statement}"
            assert sentence[1] not in found
            found[sentence[1]] = statement
    return found


SENTENCES = statements_of_checks()

# What breaks each of them; a check that no damage turns red proves nothing.
DAMAGES: list[tuple[str, LiteralString]] = [
    ("kb has 35 tables", "drop table kb.chunks"),
    ("kb has 35 tables", "create table kb.stray ()"),
    ("core has 2 tables", "drop table core.user_emails"),
    (
        "kb.documents.integration_metadata is jsonb and never null",
        "alter table kb.documents alter integration_metadata drop not null",
    ),
    (
        "kb.documents.integration_metadata is jsonb and never null",
        "alter table kb.documents drop integration_metadata",
    ),
    (
        "kb.documents.integration_metadata is jsonb and never null",
        (
            "drop index kb.documents_integration_metadata_idx;"
            " alter table kb.documents alter integration_metadata drop default,"
            " alter integration_metadata type text"
        ),
    ),
    ("no column is called subject_id or org_id", "alter table kb.tags add org_id uuid"),
    (
        "no column is called subject_id or org_id",
        "alter table core.user_emails rename user_id to subject_id",
    ),
    ("every table of kb and core has a comment", "comment on table kb.tags is null"),
    ("every table of kb and core has a comment", "comment on table core.user_emails is null"),
    (
        "the extensions pgcrypto, vector and pg_trgm are installed",
        "drop extension pg_trgm cascade",
    ),
    (
        "every updated_at is kept by core.set_updated_at",
        "drop trigger tags_set_updated_at on kb.tags",
    ),
    (
        "every updated_at is kept by core.set_updated_at",
        "alter table kb.tags disable trigger tags_set_updated_at",
    ),
    (
        "every foreign key has an index that begins with its columns",
        "drop index kb.chat_messages_conversation_id_created_at_idx",
    ),
    (
        "every foreign key has an index that begins with its columns",
        (
            "drop index kb.chat_messages_conversation_id_created_at_idx;"
            " create index part on kb.chat_messages (conversation_id) where role = 'user'"
        ),
    ),
    (
        "every foreign key has an index that begins with its columns",
        (
            "drop index kb.chat_messages_conversation_id_created_at_idx;"
            " create index late on kb.chat_messages (created_at, conversation_id)"
        ),
    ),
    (
        "every foreign key has an index that begins with its columns",
        (
            "update pg_catalog.pg_index set indisvalid = false"
            " where indexrelid = 'kb.invites_organization_id_project_id_idx'::regclass"
        ),
    ),
    (
        "a key between two tenant tables carries organization_id",
        (
            "alter table kb.tags add constraint tags_loose_fkey"
            " foreign key (product_version_id) references kb.product_versions (id)"
        ),
    ),
    (
        "no two indexes of a table have the same definition",
        "create index again on kb.chat_messages (conversation_id, created_at)",
    ),
    (
        "no two indexes of a table have the same definition",
        "create index again on kb.graph_objects (key) where key is not null",
    ),
    (
        "every index is valid",
        (
            "update pg_catalog.pg_index set indisvalid = false"
            " where indexrelid = 'kb.orgs_name_key'::regclass"
        ),
    ),
    (
        "every constraint is validated",
        "alter table kb.tags add constraint tags_later check (name <> 'x') not valid",
    ),
    (
        "every table of kb has row security enabled",
        "alter table kb.chunks disable row level security",
    ),
    ("every table of kb has row security enabled", "create table kb.stray ()"),
    ("every table of kb has a policy", "drop policy chunks_parent on kb.chunks"),
    (
        "kb.object_extraction_jobs has a policy for each of 4 commands",
        "drop policy object_extraction_jobs_delete on kb.object_extraction_jobs",
    ),
    (
        "kb.object_extraction_jobs has a policy for each of 4 commands",
        "create policy more on kb.object_extraction_jobs for select to app_rls using (true)",
    ),
    (
        "every policy for writing has WITH CHECK",
        "create policy more on kb.tags for all to app_rls using (true)",
    ),
    (
        "policies call the setting functions once a query",
        (
            "create policy more on kb.tags for select to app_rls"
            " using (organization_id = kb.current_organization())"
        ),
    ),
    ("app_rls is bound by row security", "alter role app_rls bypassrls"),
    ("app_rls owns no table", "alter table kb.tags owner to app_rls"),
    ("app_rls neither creates nor deletes organizations", "grant delete on kb.orgs to app_rls"),
    (
        "app_rls neither creates nor deletes organizations",
        "grant insert (name) on kb.orgs to app_rls",
    ),
    ("app_rls only adds to the audit log", "grant select on kb.audit_log to app_rls"),
    (
        "app_rls does not write template packs",
        "grant update (source) on kb.graph_template_packs to app_rls",
    ),
]


def holds(db: Connection, sentence: str) -> bool:
    return one(db, SENTENCES[sentence].encode()) is True


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_check_holds_read_only_under_an_empty_search_path(
    db: Connection, sentence: str
) -> None:
    db.execute("set transaction read only")
    assert holds(db, sentence)
    assert len(sentence.encode()) < 64, "longer names are cut off by the server"


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_check_needs_no_privilege(db: Connection, sentence: str) -> None:
    db.execute("set local role pg_monitor")  # any role that owns nothing
    assert holds(db, sentence)


@pytest.mark.parametrize(
    ("sentence", "damage"), DAMAGES, ids=[f"{s}-{n}" for n, (s, _) in enumerate(DAMAGES)]
)
def test_each_check_sees_the_damage(db: Connection, sentence: str, damage: LiteralString) -> None:
    assert holds(db, sentence)
    db.execute(damage)
    assert not holds(db, sentence)


def test_each_check_has_a_damage() -> None:
    assert {sentence for sentence, _ in DAMAGES} == set(SENTENCES)


def test_an_index_in_another_order_serves_a_foreign_key(db: Connection) -> None:
    db.execute("drop index kb.documents_parent_idx")
    serves = "every foreign key has an index that begins with its columns"
    assert not holds(db, serves)
    db.execute(
        "create index other on kb.documents (parent_document_id, project_id, organization_id)"
    )
    assert holds(db, serves)
