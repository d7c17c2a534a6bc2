"""The reference schema keeps its contract: tables, columns, keys, rules, and the checks themselves.

The tables below are written from the facts of the schema, not copied from its SQL: two accounts of
one thing, so that a slip in either is seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.kb_facts import (
    CLOSED_SETS,
    NAMES,
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


def one(db: Connection, query: LiteralString | bytes | sql.Composed, *parameters: object) -> Any:
    """Return the one value of the one row."""
    row = db.execute(query, parameters or None).fetchone()
    assert row is not None
    return row[0]


# The outline


def test_the_tables_are_those_of_the_facts(db: Connection) -> None:
    found = db.execute(
        "select n.nspname || '.' || c.relname from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('kb', 'core') and c.relkind in ('r', 'p', 'v', 'm', 'f')"
    )
    assert {name for (name,) in found} == set(NAMES)


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


# Keys between tenants


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

# However many it has: the check alone counts them.
[COUNTED] = [s for s in SENTENCES if re.fullmatch(r"kb has \d+ tables", s)]

# What breaks each of them; a check that no damage turns red proves nothing.
DAMAGES: list[tuple[str, LiteralString]] = [
    (COUNTED, "drop table kb.chunks"),
    (COUNTED, "create table kb.stray ()"),
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
