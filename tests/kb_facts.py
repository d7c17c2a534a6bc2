"""The facts of the reference schema: every table, column, key and closed set.

Written from what the schema is to be, not copied from its SQL: two accounts of one thing, so that a
slip in either is seen. `test_reference_schema.py` compares them with the catalogue, `e2e/` with
what happens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Every table. "u": it has updated_at; "-id": its primary key is no uuid called id. All have
# created_at. A line: names type[!] [= default] [-> parent C|N|R], where ! is not null, C on delete
# cascade, N set null, R restrict. organization_id and project_id together are one key to
# kb.projects.
TABLES = {
    "core.user_profiles u": """
        zitadel_user_id text!
        first_name, last_name, display_name, phone_e164, avatar_object_key text
        deleted_at timestamptz
    """,
    "core.user_emails -id": """
        user_id uuid! -> core.user_profiles C
        email text!
        verified boolean! = false
    """,
    "kb.orgs u": """
        name text!
    """,
    "kb.projects u": """
        organization_id uuid! -> kb.orgs C
        name text!
        kb_purpose, chat_prompt_template text
        auto_extract_objects boolean! = false
        auto_extract_config jsonb! = json
    """,
    "kb.organization_memberships": """
        organization_id uuid! -> kb.orgs C
        user_id uuid! -> core.user_profiles C
        role text!
    """,
    "kb.project_memberships": """
        project_id uuid! -> kb.projects C
        user_id uuid! -> core.user_profiles C
        role text!
    """,
    "kb.invites": """
        organization_id uuid! -> kb.orgs C
        project_id uuid -> kb.projects C
        email, role, token text!
        status text! = pending
        expires_at, accepted_at, revoked_at timestamptz
    """,
    "kb.documents u": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        parent_document_id uuid -> kb.documents N
        source_url, filename, mime_type, content text
        content_hash text!
        integration_metadata jsonb! = {}
    """,
    "kb.chunks": """
        document_id uuid! -> kb.documents C
        chunk_index integer!
        text text!
        embedding vector(768)
        tsv tsvector
    """,
    "kb.graph_objects": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        branch_id uuid -> kb.branches N
        type text!
        key, status text
        version integer! = 1
        supersedes_id, canonical_id uuid
        properties jsonb! = {}
        labels text[]! = {}
        deleted_at, expires_at, embedding_updated_at timestamptz
        change_summary jsonb
        content_hash, embedding bytea
        fts tsvector = generated
        embedding_vec vector(768)
    """,
    "kb.graph_relationships": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        branch_id uuid -> kb.branches N
        type text!
        src_id, dst_id uuid!
        version integer! = 1
        supersedes_id, canonical_id uuid
        properties jsonb! = {}
        deleted_at timestamptz
        change_summary jsonb
        content_hash bytea
    """,
    "kb.object_type_schemas": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        type text!
        version integer! = 1
        supersedes_id, canonical_id uuid
        json_schema jsonb!
    """,
    "kb.relationship_type_schemas": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        type text!
        version integer! = 1
        supersedes_id, canonical_id uuid
        json_schema jsonb!
        multiplicity jsonb
    """,
    "kb.graph_template_packs u": """
        name, version text!
        description, author, license, repository_url, documentation_url text
        object_type_schemas, relationship_type_schemas, ui_configs, extraction_prompts jsonb! = {}
        sql_views jsonb! = []
        signature, checksum text
        source text! = manual
        discovery_job_id uuid -> kb.discovery_jobs N
        pending_review boolean! = false
        published_at timestamptz! = now()
        deprecated_at timestamptz
        superseded_by uuid -> kb.graph_template_packs N
    """,
    "kb.project_template_packs u": """
        project_id uuid! -> kb.projects C
        template_pack_id uuid! -> kb.graph_template_packs R
        installed_at timestamptz! = now()
        installed_by uuid -> core.user_profiles N
        active boolean! = true
        customizations jsonb! = {}
    """,
    "kb.project_object_type_registry u": """
        project_id uuid! -> kb.projects C
        type_name, source text!
        template_pack_id uuid -> kb.graph_template_packs N
        schema_version integer! = 1
        json_schema jsonb!
        ui_config, extraction_config jsonb! = {}
        enabled boolean! = true
        discovery_confidence real
        description text
        created_by uuid -> core.user_profiles N
    """,
    "kb.object_extraction_jobs u": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        source_type text!
        source_id uuid
        source_metadata, extraction_config jsonb! = {}
        status text! = pending
        total_items, processed_items, successful_items, failed_items integer! = 0
        discovered_types, created_objects, logs jsonb! = []
        error_message text
        error_details, debug_info jsonb
        started_at, completed_at timestamptz
        created_by uuid -> core.user_profiles N
    """,
    "kb.discovery_jobs u": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        status, kb_purpose text!
        progress jsonb! = json
        config jsonb! = {}
        discovered_types, discovered_relationships jsonb! = []
        template_pack_id uuid -> kb.graph_template_packs N
        error_message text
        retry_count integer! = 0
        started_at, completed_at timestamptz
    """,
    "kb.discovery_type_candidates u": """
        job_id uuid! -> kb.discovery_jobs C
        batch_number integer!
        type_name text!
        description, extraction_context text
        confidence real!
        inferred_schema jsonb!
        example_instances, proposed_relationships jsonb! = []
        frequency, refinement_iteration integer! = 1
        source_document_ids uuid[]! = {}
        merged_from uuid[]
        status text! = candidate
    """,
    "kb.chat_conversations u": """
        title text!
        owner_user_id uuid -> core.user_profiles N
        is_private boolean! = true
        organization_id uuid! -> kb.orgs C
        project_id uuid -> kb.projects C
    """,
    "kb.chat_messages": """
        conversation_id uuid! -> kb.chat_conversations C
        role, content text!
        citations jsonb
    """,
    "kb.mcp_tool_calls": """
        session_id, tool_name, status text!
        conversation_id uuid -> kb.chat_conversations N
        turn_number integer!
        tool_parameters, tool_result jsonb
        execution_time_ms integer
        error_message, final_llm_prompt text
        organization_id uuid! -> kb.orgs C
        project_id uuid -> kb.projects C
    """,
    "kb.integrations u": """
        name, display_name text!
        description, logo_url, webhook_secret text
        enabled boolean! = false
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        settings_encrypted bytea
        created_by uuid -> core.user_profiles N
    """,
    "kb.clickup_sync_state u": """
        integration_id uuid! -> kb.integrations C
        last_full_import_at, last_workspace_sync_at, last_space_sync_at timestamptz
        last_folder_sync_at, last_list_sync_at, last_task_sync_at, last_error_at timestamptz
        sync_cursor, import_status, last_error text
        workspace_cursor jsonb
        active_import_job_id uuid
        total_imported_objects, total_synced_tasks, total_synced_lists integer! = 0
        total_synced_spaces, consecutive_failures integer! = 0
    """,
    "kb.tags u": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        product_version_id uuid -> kb.product_versions C
        name text!
        description text
    """,
    "kb.notifications u": """
        organization_id uuid! -> kb.orgs C
        project_id uuid -> kb.projects C
        user_id uuid -> core.user_profiles C
        title, message text!
        type, category, related_resource_type text
        severity text! = info
        importance text! = other
        related_resource_id uuid
        actions jsonb! = []
        read_at, dismissed_at, cleared_at, snoozed_until, expires_at timestamptz
    """,
    "kb.audit_log -id": """
        id bigint! = identity
        occurred_at timestamptz! = now()
        event_type, action, endpoint, http_method, outcome text!
        user_id uuid -> core.user_profiles N
        user_email, resource_type, resource_id, error_code, error_message text
        user_agent, request_id text
        ip_address inet
        status_code integer
        details jsonb
    """,
    "kb.system_process_logs": """
        process_id, process_type, level, message text!
        metadata jsonb
        logged_at timestamptz! = now()
        organization_id uuid! -> kb.orgs C
        project_id uuid -> kb.projects C
    """,
    "kb.llm_call_logs": """
        process_id, process_type, model_name, status text!
        request_payload jsonb!
        response_payload, usage_metrics jsonb
        error_message text
        input_tokens, output_tokens, total_tokens, duration_ms integer
        cost_usd numeric(10,6)
        started_at timestamptz! = now()
        completed_at timestamptz
        organization_id uuid! -> kb.orgs C
        project_id uuid -> kb.projects C
    """,
    "kb.branches": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        name text!
        parent_branch_id uuid -> kb.branches N
    """,
    "kb.branch_lineage -id": """
        branch_id uuid! -> kb.branches C
        ancestor_branch_id uuid! -> kb.branches C
        depth integer!
    """,
    "kb.merge_provenance -id": """
        child_version_id, parent_version_id uuid!
        role text!
    """,
    "kb.product_versions": """
        organization_id uuid! -> kb.orgs C
        project_id uuid! -> kb.projects C
        name text!
        description text
        base_product_version_id uuid -> kb.product_versions N
    """,
    "kb.product_version_members -id": """
        product_version_id uuid! -> kb.product_versions C
        object_canonical_id, object_version_id uuid!
    """,
    "kb.embedding_policies u": """
        project_id uuid! -> kb.projects C
        object_type text!
        enabled boolean! = true
        max_property_size integer = 10000
        required_labels, excluded_labels, relevant_paths, excluded_statuses text[]! = {}
    """,
    "kb.graph_embedding_jobs u": """
        object_id uuid! -> kb.graph_objects C
        status text! = pending
        attempt_count, priority integer! = 0
        last_error text
        scheduled_at timestamptz! = now()
        started_at, completed_at timestamptz
    """,
    "kb.settings u": """
        organization_id uuid -> kb.orgs C
        project_id uuid -> kb.projects C
        key text!
        value jsonb! = {}
    """,
}

CLOSED_SETS = {
    "organization_memberships.role": "org_admin",
    "project_memberships.role": "project_admin project_user",
    "invites.role": "org_admin project_admin project_user",
    "invites.status": "pending accepted revoked expired",
    "graph_template_packs.source": "manual discovered imported system",
    "project_object_type_registry.source": "template custom discovered",
    "object_extraction_jobs.source_type": "document api manual bulk_import",
    "object_extraction_jobs.status": "pending running completed failed cancelled",
    "discovery_jobs.status": "pending analyzing_documents extracting_types refining_schemas"
    " creating_pack completed failed cancelled",
    "discovery_type_candidates.status": "candidate approved rejected merged",
    "chat_messages.role": "user assistant system",
    "mcp_tool_calls.status": "success error timeout",
    "notifications.severity": "info success warning error",
    "notifications.importance": "important other",
    "audit_log.outcome": "success failure denied",
    "system_process_logs.level": "debug info warn error fatal",
    "llm_call_logs.status": "pending success error timeout",
    "merge_provenance.role": "source target base",
    "graph_embedding_jobs.status": "pending processing failed completed",
}

COMMANDS = ("select", "insert", "update", "delete")

# What the application may do, where that is not everything.
GRANTED = {
    "core.user_profiles": ("select",),
    "core.user_emails": ("select",),
    "kb.orgs": ("select", "update"),
    "kb.graph_template_packs": ("select",),
    "kb.audit_log": ("insert",),
}


def may(command: str, table: str) -> bool:
    """Say whether the application may do it at all; row security says to which rows."""
    return command in GRANTED.get(table, COMMANDS)


PRIMARY_KEYS = {
    "core.user_emails": ["user_id", "email"],
    "kb.branch_lineage": ["branch_id", "ancestor_branch_id"],
    "kb.merge_provenance": ["child_version_id", "parent_version_id", "role"],
    "kb.product_version_members": ["product_version_id", "object_canonical_id"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as the facts say it, or as the catalogue does."""

    type: str
    not_null: bool
    default: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A foreign key, but for its columns."""

    parent: str
    on_delete: str
    carries_organization: bool


LINE = re.compile(
    r"(?P<names>\w+(?:, \w+)*) (?P<type>\S+?)(?P<bang>!?)"
    r"(?: = (?P<default>\S+))?(?: -> (?P<parent>\S+) (?P<on_delete>[CNR]))?"
)


def table_of(heading: str) -> str:
    return heading.partition(" ")[0]


def lines_of(heading: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield each column of a table of TABLES with its parsed line."""
    for line in TABLES[heading].strip().splitlines():
        match = LINE.fullmatch(line.strip())
        assert match, line
        for name in match["names"].split(", "):
            yield name, match


def expected_columns(heading: str) -> dict[str, Column]:
    _, *flags = heading.split()
    stamp = Column(type="timestamptz", not_null=True, default="now()")
    columns = {"created_at": stamp}
    if "u" in flags:
        columns["updated_at"] = stamp
    if "-id" not in flags:
        columns["id"] = Column(type="uuid", not_null=True, default="gen_random_uuid()")
    for name, line in lines_of(heading):
        columns[name] = Column(
            type=line["type"], not_null=bool(line["bang"]), default=line["default"]
        )
    return columns


def expected_keys(heading: str) -> dict[str, Key]:
    names = {name for name, _ in lines_of(heading)}
    keys = {}
    for name, line in lines_of(heading):
        if line["parent"]:
            # Between two tenant tables; orgs is the tenant, and packs and people have none.
            tenants = {"kb.orgs", "kb.graph_template_packs", "core.user_profiles"}
            keys[name] = Key(
                parent=line["parent"],
                on_delete=line["on_delete"],
                carries_organization="organization_id" in names and line["parent"] not in tenants,
            )
    return keys


# Every table by its name alone.
NAMES = tuple(map(table_of, TABLES))


def heading_of(table: str) -> str:
    """Give the heading of a table in TABLES."""
    [heading] = [heading for heading in TABLES if table_of(heading) == table]
    return heading


def keys_of(table: str) -> dict[str, Key]:
    """Give the foreign keys of a table by their columns."""
    return expected_keys(heading_of(table))


def columns_of(table: str) -> dict[str, Column]:
    """Give the columns of a table."""
    return expected_columns(heading_of(table))
