"""Factories: a row of any table of the reference schema, with all that it needs.

    make = Factories(connection)
    chunk = make.chunk()                          # with a document, a project and an organization
    chunk = make.chunk(document=document, text="Rivers run")

Each method makes one row, and gives it whole. Any column may be given. A parent is given as a row
or as an id, under its column's name with or without `_id`; one that is not given is made. Tenant
columns follow the parent that is given: a document of a project has its organization, an object on
a branch the branch's project. Tables whose project may be null have none when only an organization
is given.

Rows are inserted as whoever the connection is at that moment: in a block of `as_application` the
application, which then needs its parents given.
"""

from __future__ import annotations

import itertools
import secrets
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from headwater.testing.rows import Row, insert

# Names are unique in the whole database in places, and several processes may share one.
_PROCESS = secrets.token_hex(4)
_count = itertools.count(1)

# The parents that have a column NAME_id. Those of created_by and its like have that name already.
_PARENTS = frozenset(
    {
        "organization", "project", "user", "owner_user", "document", "parent_document", "branch",
        "parent_branch", "ancestor_branch", "product_version", "base_product_version", "job",
        "discovery_job", "template_pack", "conversation", "integration", "object", "src", "dst",
        "child_version", "parent_version", "object_canonical", "object_version", "supersedes",
        "canonical",
    }
)  # fmt: skip

# The method for each table.
METHODS = {
    "core.user_profiles": "user",
    "core.user_emails": "user_email",
    "kb.orgs": "organization",
    "kb.projects": "project",
    "kb.organization_memberships": "organization_membership",
    "kb.project_memberships": "project_membership",
    "kb.invites": "invite",
    "kb.documents": "document",
    "kb.chunks": "chunk",
    "kb.graph_objects": "graph_object",
    "kb.graph_relationships": "graph_relationship",
    "kb.object_type_schemas": "object_type_schema",
    "kb.relationship_type_schemas": "relationship_type_schema",
    "kb.graph_template_packs": "template_pack",
    "kb.project_template_packs": "project_template_pack",
    "kb.project_object_type_registry": "registered_type",
    "kb.object_extraction_jobs": "extraction_job",
    "kb.discovery_jobs": "discovery_job",
    "kb.discovery_type_candidates": "type_candidate",
    "kb.chat_conversations": "conversation",
    "kb.chat_messages": "message",
    "kb.mcp_tool_calls": "tool_call",
    "kb.integrations": "integration",
    "kb.clickup_sync_state": "clickup_sync_state",
    "kb.tags": "tag",
    "kb.notifications": "notification",
    "kb.audit_log": "audit_entry",
    "kb.system_process_logs": "process_log",
    "kb.llm_call_logs": "llm_call",
    "kb.branches": "branch",
    "kb.branch_lineage": "branch_lineage",
    "kb.merge_provenance": "merge_provenance",
    "kb.product_versions": "product_version",
    "kb.product_version_members": "product_version_member",
    "kb.embedding_policies": "embedding_policy",
    "kb.graph_embedding_jobs": "embedding_job",
    "kb.settings": "setting",
}


class Factories:
    """Makes rows over one connection: a method for each table."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def one(self, table: str, **columns: Any) -> Row:
        """Make a row of a table that is named: `make.one("kb.tags")`."""
        row: Row = getattr(self, METHODS[table])(**columns)
        return row

    # People, organizations, projects

    def user(self, **columns: Any) -> Row:
        return self._insert("core.user_profiles", columns, zitadel_user_id=unique("user"))

    def user_email(self, **columns: Any) -> Row:
        given = self._with_parent(columns, user=self.user)
        return self._insert("core.user_emails", given, email=f"{unique('mail')}@example.com")

    def organization(self, **columns: Any) -> Row:
        return self._insert("kb.orgs", columns, name=unique("organization"))

    def project(self, **columns: Any) -> Row:
        given = self._with_parent(columns, organization=self.organization)
        return self._insert("kb.projects", given, name=unique("project"))

    def organization_membership(self, **columns: Any) -> Row:
        given = self._with_parent(columns, organization=self.organization, user=self.user)
        return self._insert("kb.organization_memberships", given, role="org_admin")

    def project_membership(self, **columns: Any) -> Row:
        given = self._with_parent(columns, project=self.project, user=self.user)
        return self._insert("kb.project_memberships", given, role="project_user")

    def invite(self, **columns: Any) -> Row:
        return self._insert(
            "kb.invites",
            self._of_tenant(columns, project_needed=False),
            email=f"{unique('mail')}@example.com",
            role="project_user",
            token=unique("token"),
        )

    # Documents

    def document(self, **columns: Any) -> Row:
        given = self._of_tenant(columns, parent_document="kb.documents")
        return self._insert("kb.documents", given, content=unique("content"))

    def chunk(self, **columns: Any) -> Row:
        return self._insert(
            "kb.chunks",
            self._with_parent(columns, document=self.document),
            chunk_index=next(_count),
            text=unique("text"),
        )

    # Graph

    def graph_object(self, **columns: Any) -> Row:
        given = self._of_tenant(columns, branch="kb.branches")
        return self._insert("kb.graph_objects", given, type="thing", key=unique("key"))

    def graph_relationship(self, **columns: Any) -> Row:
        given = self._of_tenant(
            columns, branch="kb.branches", src="kb.graph_objects", dst="kb.graph_objects"
        )
        tenant = {name: given[name] for name in ("organization_id", "project_id")}
        for end in ("src_id", "dst_id"):
            given[end] = given.get(end) or self.graph_object(**tenant).id
        return self._insert("kb.graph_relationships", given, type="relates")

    # Type registry and templates

    def object_type_schema(self, **columns: Any) -> Row:
        given = self._of_tenant(columns)
        return self._insert("kb.object_type_schemas", given, type=unique("type"), json_schema={})

    def relationship_type_schema(self, **columns: Any) -> Row:
        given = self._of_tenant(columns)
        return self._insert(
            "kb.relationship_type_schemas", given, type=unique("type"), json_schema={}
        )

    def template_pack(self, **columns: Any) -> Row:
        return self._insert(
            "kb.graph_template_packs", columns, name=unique("pack"), version=unique("1.0")
        )

    def project_template_pack(self, **columns: Any) -> Row:
        given = self._with_parent(columns, project=self.project, template_pack=self.template_pack)
        return self._insert("kb.project_template_packs", given)

    def registered_type(self, **columns: Any) -> Row:
        return self._insert(
            "kb.project_object_type_registry",
            self._with_parent(columns, project=self.project),
            type_name=unique("type"),
            source="custom",
            json_schema={},
        )

    # Extraction and discovery

    def extraction_job(self, **columns: Any) -> Row:
        given = self._of_tenant(columns)
        return self._insert("kb.object_extraction_jobs", given, source_type="manual")

    def discovery_job(self, **columns: Any) -> Row:
        given = self._of_tenant(columns)
        return self._insert("kb.discovery_jobs", given, status="pending", kb_purpose="rivers")

    def type_candidate(self, **columns: Any) -> Row:
        return self._insert(
            "kb.discovery_type_candidates",
            self._with_parent(columns, job=self.discovery_job),
            batch_number=1,
            type_name=unique("type"),
            confidence=0.5,
            inferred_schema={},
        )

    # Chat

    def conversation(self, **columns: Any) -> Row:
        given = self._of_tenant(columns, project_needed=False)
        return self._insert("kb.chat_conversations", given, title="rivers")

    def message(self, **columns: Any) -> Row:
        given = self._with_parent(columns, conversation=self.conversation)
        return self._insert("kb.chat_messages", given, role="user", content="Which way?")

    def tool_call(self, **columns: Any) -> Row:
        return self._insert(
            "kb.mcp_tool_calls",
            self._of_tenant(columns, project_needed=False, conversation="kb.chat_conversations"),
            session_id=unique("session"),
            turn_number=1,
            tool_name="search",
            status="success",
        )

    # Integrations

    def integration(self, **columns: Any) -> Row:
        return self._insert(
            "kb.integrations",
            self._of_tenant(columns),
            name=unique("integration"),
            display_name="An integration",
        )

    def clickup_sync_state(self, **columns: Any) -> Row:
        given = self._with_parent(columns, integration=self.integration)
        return self._insert("kb.clickup_sync_state", given)

    # System

    def tag(self, **columns: Any) -> Row:
        given = self._of_tenant(columns, product_version="kb.product_versions")
        return self._insert("kb.tags", given, name=unique("tag"))

    def notification(self, **columns: Any) -> Row:
        given = self._of_tenant(columns, project_needed=False)
        return self._insert("kb.notifications", given, title="Flood", message="The river rises")

    def audit_entry(self, **columns: Any) -> Row:
        return self._insert(
            "kb.audit_log",
            columns,
            event_type=unique("event"),
            action="read",
            endpoint="/rivers",
            http_method="GET",
            outcome="success",
        )

    def process_log(self, **columns: Any) -> Row:
        return self._insert(
            "kb.system_process_logs",
            self._of_tenant(columns, project_needed=False),
            process_id=unique("process"),
            process_type="extraction",
            level="info",
            message="begun",
        )

    def llm_call(self, **columns: Any) -> Row:
        return self._insert(
            "kb.llm_call_logs",
            self._of_tenant(columns, project_needed=False),
            process_id=unique("process"),
            process_type="extraction",
            model_name="a-model",
            request_payload={},
            status="pending",
        )

    # Versions and branches

    def branch(self, **columns: Any) -> Row:
        given = self._of_tenant(columns, parent_branch="kb.branches")
        return self._insert("kb.branches", given, name=unique("branch"))

    def branch_lineage(self, **columns: Any) -> Row:
        """Make a line between two branches of one project."""
        given = named(columns)
        if "ancestor_branch_id" not in given:
            like = {"branch": columns.get("branch", given.get("branch_id"))}
            given["ancestor_branch_id"] = self._sister(like, "branch", self.branch).id
        if "branch_id" not in given:
            like = {"branch": columns.get("ancestor_branch", given["ancestor_branch_id"])}
            given["branch_id"] = self._sister(like, "branch", self.branch).id
        return self._insert("kb.branch_lineage", given, depth=1)

    def merge_provenance(self, **columns: Any) -> Row:
        given = self._with_parent(
            columns, child_version=self.graph_object, parent_version=self.graph_object
        )
        return self._insert("kb.merge_provenance", given, role="source")

    def product_version(self, **columns: Any) -> Row:
        given = self._of_tenant(columns, base_product_version="kb.product_versions")
        return self._insert("kb.product_versions", given, name=unique("version"))

    def product_version_member(self, **columns: Any) -> Row:
        given = self._with_parent(columns, product_version=self.product_version)
        if "object_canonical_id" not in given:
            version = columns.get("product_version", given["product_version_id"])
            tenant = self._tenant_of(version, "kb.product_versions")
            given["object_canonical_id"] = self.graph_object(**tenant).id
        given.setdefault("object_version_id", given["object_canonical_id"])
        return self._insert("kb.product_version_members", given)

    # Other

    def embedding_policy(self, **columns: Any) -> Row:
        given = self._with_parent(columns, project=self.project)
        return self._insert("kb.embedding_policies", given, object_type=unique("type"))

    def embedding_job(self, **columns: Any) -> Row:
        given = self._with_parent(columns, object=self.graph_object)
        return self._insert("kb.graph_embedding_jobs", given)

    def setting(self, **columns: Any) -> Row:
        given = self._of_tenant(columns, project_needed=False)
        return self._insert("kb.settings", given, key=unique("setting"))

    # How

    def _insert(self, table: str, given: dict[str, Any], /, **defaults: Any) -> Row:
        return insert(self.connection, table, **{**defaults, **named(given)})

    def _with_parent(self, columns: dict[str, Any], /, **parents: Any) -> dict[str, Any]:
        """Give the columns with the id of each parent, made where none is given."""
        given = named(columns)
        for name, method in parents.items():
            if f"{name}_id" not in given:
                given[f"{name}_id"] = method().id
        return given

    def _of_tenant(
        self, columns: dict[str, Any], /, *, project_needed: bool = True, **parents: str
    ) -> dict[str, Any]:
        """Give the columns with organization and project, which follow what is given.

        `parents` are the other parents that have both, with their tables.
        """
        given = named(columns)
        if {"organization_id", "project_id"} <= given.keys():
            return given
        if given.get("project_id"):
            project = columns.get("project", given["project_id"])
            return {"organization_id": self._column(project, "kb.projects", "organization_id")} | (
                given
            )
        for name, table in parents.items():
            if parent := given.get(f"{name}_id"):
                return self._tenant_of(columns.get(name, parent), table) | given
        return self._new_tenant(given, project_needed=project_needed)

    def _new_tenant(self, given: dict[str, Any], *, project_needed: bool) -> dict[str, Any]:
        if "project_id" in given:  # None, on purpose
            return {"organization_id": self.organization().id} | given
        if "organization_id" in given and not project_needed:
            return {"project_id": None} | given
        project = self.project(
            **{name: given[name] for name in ("organization_id",) if name in given}
        )
        return {"organization_id": project.organization_id, "project_id": project.id} | given

    def _sister(self, like: dict[str, Any], name: str, method: Any) -> Row:
        """Make a row in the project of another one, or in a new project."""
        if not like[name]:
            return method()  # type: ignore[no-any-return]
        return method(**self._tenant_of(like[name], "kb.branches"))  # type: ignore[no-any-return]

    def _tenant_of(self, row: Any, table: str) -> dict[str, Any]:
        """Give organization and project of a row that is given whole, or by its id."""
        columns = ("organization_id", "project_id")
        return {column: self._column(row, table, column) for column in columns}

    def _column(self, parent: Any, table: str, column: str) -> Any:
        """Give a column of a parent, asked for where only its id is given."""
        if not isinstance(parent, UUID | str):
            return parent[column]
        query = sql.SQL("select {} from {} where id = %s").format(
            sql.Identifier(column), sql.Identifier(*table.split("."))
        )
        with psycopg.Cursor(self.connection, row_factory=tuple_row) as cursor:
            found = cursor.execute(query, [parent]).fetchone()
        if not found:
            raise LookupError(f"there is no row {parent} in {table}, or it is hidden")
        return found[0]


def unique(word: str) -> str:
    """Give a text that nobody else has: `river-5f3a9c01-7`."""
    return f"{word}-{_PROCESS}-{next(_count)}"


def named(columns: dict[str, Any]) -> dict[str, Any]:
    """Give columns by their names, and ids for rows: `{"project": row}` -> `{"project_id": id}`."""
    return {
        f"{name}_id" if name in _PARENTS else name: value.id if isinstance(value, Row) else value
        for name, value in columns.items()
    }
