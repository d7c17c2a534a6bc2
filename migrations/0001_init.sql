-- The reference schema: the database of a knowledge-base application.
--
-- Organizations own projects. Documents are cut into chunks and embedded. A graph of typed
-- objects is extracted from them. People chat with what was found.
--
--     1  Extensions and schemas          8  Type registry and templates
--     2  The application role            9  Extraction and discovery
--     3  Functions                      10  Chat
--     4  core: people                   11  Integrations
--     5  Organizations and projects     12  System
--     6  Documents                      13  Jobs, policies of embedding, settings
--     7  Branches, versions, graph      14  Row security
--                                       15  Privileges
--
-- Four habits hold throughout:
--
--   * A row of a tenant carries organization_id, and most carry project_id. Both together refer to
--     kb.projects (organization_id, id): foreign keys do not ask row security, so a key on project_id
--     alone would let a row point at another tenant's project. Keys between two tenant tables carry
--     organization_id for the same reason, and project_id too where both sides always have one.
--   * Every foreign key has an index that begins with its columns, so that deleting the row it refers
--     to does not read the whole table. One index often serves several keys: the unique key
--     (organization_id, project_id, id) serves the organization, the project and the keys that
--     children hold.
--   * A closed set of words is a named check constraint, not an enum: it can be changed in one
--     transaction, and values can leave it.
--   * Names outside pg_catalog are qualified: nothing depends on the search_path of whoever runs it.


-- 1  Extensions and schemas ----------------------------------------------------------------------

-- They live in public, are shared with whatever else is in the database, and are never dropped.
create extension if not exists pgcrypto with schema public;
create extension if not exists vector with schema public;
create extension if not exists pg_trgm with schema public;

create schema core;
comment on schema core is 'People: who they are, whatever organization they work for.';

create schema kb;
comment on schema kb is 'The knowledge base: all that belongs to an organization, under row security.';


-- 2  The application role ------------------------------------------------------------------------

-- Roles belong to the whole server: this one outlives a dropped schema, and another database may be
-- creating it at this very moment. The loser of that race gets unique_violation, a late comer
-- duplicate_object. An existing role is taken as it is, unless it would make the policies void.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'app_rls') then
        begin
            create role app_rls nologin nobypassrls;
        exception
            when duplicate_object or unique_violation then null;
        end;
    end if;
    if exists (
        select from pg_catalog.pg_roles where rolname = 'app_rls' and (rolsuper or rolbypassrls)
    ) then
        raise exception 'role app_rls is a superuser or bypasses row security'
            using hint = 'ALTER ROLE app_rls NOSUPERUSER NOBYPASSRLS';
    end if;
end
$$;


-- 3  Functions -----------------------------------------------------------------------------------

create function core.set_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    -- clock_timestamp, not now: two updates in one transaction are two moments.
    new.updated_at := pg_catalog.clock_timestamp();
    return new;
end
$$;
comment on function core.set_updated_at() is
    'Trigger: stamps updated_at at each update; shared by every table that has the column.';

create function kb.set_document_content_hash() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.content_hash := pg_catalog.encode(
        public.digest(
            pg_catalog.convert_to(coalesce(new.content, ''), 'UTF8'), 'sha256'
        ),
        'hex'
    );
    return new;
end
$$;
comment on function kb.set_document_content_hash() is
    'Trigger: computes content_hash from content, overwriting whatever the client sent.';

create function kb.set_chunk_tsv() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.tsv := pg_catalog.to_tsvector('pg_catalog.simple'::pg_catalog.regconfig, new.text);
    return new;
end
$$;
comment on function kb.set_chunk_tsv() is
    'Trigger: computes the full-text form of a chunk; ''simple'', as documents come in any language.';

-- The two functions that policies ask. Without a SET clause they are inlined; with the call written
-- as a sub-select, (select kb.current_organization()), they run once a query and not once a row.
-- A setting used once in a session is '' afterwards, not null: nullif makes both mean "none".
create function kb.current_organization() returns uuid
language sql
stable
parallel safe
return nullif(pg_catalog.current_setting('app.current_organization_id', true), '')::pg_catalog.uuid;
comment on function kb.current_organization() is
    'The organization the application works for, from app.current_organization_id; null = none, no rows.';

create function kb.current_project() returns uuid
language sql
stable
parallel safe
return nullif(pg_catalog.current_setting('app.current_project_id', true), '')::pg_catalog.uuid;
comment on function kb.current_project() is
    'The project the application narrows to, from app.current_project_id; null = all of the organization.';


-- 4  core: people --------------------------------------------------------------------------------

create table core.user_profiles (
    id uuid not null default gen_random_uuid(),
    zitadel_user_id text not null,
    first_name text,
    last_name text,
    display_name text,
    phone_e164 text,
    avatar_object_key text,
    deleted_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint user_profiles_pkey primary key (id),
    constraint user_profiles_zitadel_user_id_key unique (zitadel_user_id)
);
create trigger user_profiles_set_updated_at
    before update on core.user_profiles
    for each row execute function core.set_updated_at();
comment on table core.user_profiles is 'A person, once, whatever organizations they are a member of.';
comment on column core.user_profiles.zitadel_user_id is 'The identity provider''s id of the person.';
comment on column core.user_profiles.phone_e164 is 'Telephone number in E.164 form: +41791234567.';
comment on column core.user_profiles.avatar_object_key is 'Key of the picture in the object store.';
comment on column core.user_profiles.deleted_at is
    'When the account was closed. The row stays, so that what the person made keeps its author.';

create table core.user_emails (
    user_id uuid not null,
    email text not null,
    verified boolean not null default false,
    created_at timestamptz not null default now(),
    constraint user_emails_pkey primary key (user_id, email),
    constraint user_emails_user_fkey
        foreign key (user_id) references core.user_profiles (id) on delete cascade
);
create unique index user_emails_verified_email_key on core.user_emails (lower(email)) where verified;
comment on table core.user_emails is
    'Addresses of a person. A verified address belongs to one person, whatever its case; an unverified '
    'one may be claimed by several.';


-- 5  Organizations and projects ------------------------------------------------------------------

create table kb.orgs (
    id uuid not null default gen_random_uuid(),
    name text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint orgs_pkey primary key (id)
);
create unique index orgs_name_key on kb.orgs (lower(name));
create trigger orgs_set_updated_at
    before update on kb.orgs
    for each row execute function core.set_updated_at();
comment on table kb.orgs is
    'A tenant. All else in kb belongs to one and goes with it. The application neither creates nor '
    'deletes organizations.';
comment on column kb.orgs.name is 'Unique, whatever its case.';

create table kb.projects (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    name text not null,
    kb_purpose text,
    chat_prompt_template text,
    auto_extract_objects boolean not null default false,
    auto_extract_config jsonb not null default '{
        "enabled_types": null,
        "min_confidence": 0.7,
        "require_review": false,
        "notify_on_complete": true,
        "notification_channels": ["inbox"]
    }',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint projects_pkey primary key (id),
    -- What the keys of tenant tables refer to: a project together with its owner.
    constraint projects_organization_id_id_key unique (organization_id, id),
    constraint projects_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade
);
create unique index projects_organization_id_name_key on kb.projects (organization_id, lower(name));
create trigger projects_set_updated_at
    before update on kb.projects
    for each row execute function core.set_updated_at();
comment on table kb.projects is 'A body of knowledge inside an organization.';
comment on column kb.projects.name is 'Unique in its organization, whatever its case.';
comment on column kb.projects.kb_purpose is
    'What the knowledge base is for, in the user''s words; steers discovery of types.';
comment on column kb.projects.chat_prompt_template is 'Prompt of the chat; null = the built-in one.';
comment on column kb.projects.auto_extract_objects is
    'Whether a new document starts an extraction job by itself.';
comment on column kb.projects.auto_extract_config is
    'How such a job runs. enabled_types null = every type of the project.';

create table kb.organization_memberships (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    user_id uuid not null,
    role text not null,
    created_at timestamptz not null default now(),
    constraint organization_memberships_pkey primary key (id),
    constraint organization_memberships_organization_id_user_id_key unique (organization_id, user_id),
    constraint organization_memberships_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint organization_memberships_user_fkey
        foreign key (user_id) references core.user_profiles (id) on delete cascade,
    constraint organization_memberships_role_check check (role in ('org_admin'))
);
create index organization_memberships_user_id_idx on kb.organization_memberships (user_id);
comment on table kb.organization_memberships is 'Who administers an organization; one row a person.';

create table kb.project_memberships (
    id uuid not null default gen_random_uuid(),
    project_id uuid not null,
    user_id uuid not null,
    role text not null,
    created_at timestamptz not null default now(),
    constraint project_memberships_pkey primary key (id),
    constraint project_memberships_project_id_user_id_key unique (project_id, user_id),
    constraint project_memberships_project_fkey
        foreign key (project_id) references kb.projects (id) on delete cascade,
    constraint project_memberships_user_fkey
        foreign key (user_id) references core.user_profiles (id) on delete cascade,
    constraint project_memberships_role_check check (role in ('project_admin', 'project_user'))
);
create index project_memberships_user_id_idx on kb.project_memberships (user_id);
comment on table kb.project_memberships is 'Who works in a project, and as what; one row a person.';

create table kb.invites (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid,
    email text not null,
    role text not null,
    token text not null,
    status text not null default 'pending',
    expires_at timestamptz,
    accepted_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),
    constraint invites_pkey primary key (id),
    constraint invites_token_key unique (token),
    constraint invites_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint invites_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint invites_role_check check (role in ('org_admin', 'project_admin', 'project_user')),
    constraint invites_status_check check (status in ('pending', 'accepted', 'revoked', 'expired'))
);
create index invites_organization_id_project_id_idx on kb.invites (organization_id, project_id);
comment on table kb.invites is 'An invitation by e-mail to an organization or to one of its projects.';
comment on column kb.invites.project_id is 'Null = the whole organization.';
comment on column kb.invites.token is 'The secret in the link; whoever shows it is the invited person.';


-- 6  Documents -----------------------------------------------------------------------------------

create table kb.documents (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    parent_document_id uuid,
    source_url text,
    filename text,
    mime_type text,
    content text,
    content_hash text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint documents_pkey primary key (id),
    constraint documents_organization_id_project_id_id_key unique (organization_id, project_id, id),
    constraint documents_project_id_content_hash_key unique (project_id, content_hash),
    constraint documents_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint documents_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint documents_parent_fkey
        foreign key (organization_id, project_id, parent_document_id)
        references kb.documents (organization_id, project_id, id)
        on delete set null (parent_document_id)
);
create index documents_parent_idx on kb.documents (organization_id, project_id, parent_document_id);
create trigger documents_set_content_hash
    before insert or update on kb.documents
    for each row execute function kb.set_document_content_hash();
create trigger documents_set_updated_at
    before update on kb.documents
    for each row execute function core.set_updated_at();
comment on table kb.documents is 'A text that knowledge is taken from; the same text once in a project.';
comment on column kb.documents.parent_document_id is
    'The document this one came out of: the mail of an attachment, the archive of a file.';
comment on column kb.documents.content_hash is
    'SHA-256 of content in hex, of the empty text when content is null. Set by a trigger, so that it '
    'cannot be forged.';

create table kb.chunks (
    id uuid not null default gen_random_uuid(),
    document_id uuid not null,
    chunk_index integer not null,
    text text not null,
    embedding public.vector(768),
    tsv tsvector,
    created_at timestamptz not null default now(),
    constraint chunks_pkey primary key (id),
    constraint chunks_document_id_chunk_index_key unique (document_id, chunk_index),
    constraint chunks_document_fkey
        foreign key (document_id) references kb.documents (id) on delete cascade
);
create index chunks_embedding_idx on kb.chunks using hnsw (embedding public.vector_cosine_ops);
create index chunks_tsv_idx on kb.chunks using gin (tsv);
create index chunks_text_trgm_idx on kb.chunks using gin (text public.gin_trgm_ops);
create trigger chunks_set_tsv
    before insert or update on kb.chunks
    for each row execute function kb.set_chunk_tsv();
comment on table kb.chunks is 'A piece of a document, small enough to be embedded and quoted.';
comment on column kb.chunks.chunk_index is 'Its place in the document.';
comment on column kb.chunks.embedding is 'Meaning of the text as a vector; null = not yet embedded.';
comment on column kb.chunks.tsv is 'Words of the text, for full-text search. Set by a trigger.';


-- 7  Branches, versions, graph -------------------------------------------------------------------

-- An object of the graph is a chain of versions: rows of kb.graph_objects that share canonical_id.
-- The newest is the head; the others name the row that replaced them. Branches let a chain fork.

create table kb.branches (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    name text not null,
    parent_branch_id uuid,
    created_at timestamptz not null default now(),
    constraint branches_pkey primary key (id),
    constraint branches_organization_id_project_id_id_key unique (organization_id, project_id, id),
    constraint branches_project_id_name_key unique (project_id, name),
    constraint branches_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint branches_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint branches_parent_fkey
        foreign key (organization_id, project_id, parent_branch_id)
        references kb.branches (organization_id, project_id, id)
        on delete set null (parent_branch_id)
);
create index branches_parent_idx on kb.branches (organization_id, project_id, parent_branch_id);
comment on table kb.branches is
    'A line of versions of the graph beside the main line, which has no row: there branch_id is null.';
comment on column kb.branches.parent_branch_id is 'The branch it was cut from; null = the main line.';

create table kb.branch_lineage (
    branch_id uuid not null,
    ancestor_branch_id uuid not null,
    depth integer not null,
    created_at timestamptz not null default now(),
    constraint branch_lineage_pkey primary key (branch_id, ancestor_branch_id),
    constraint branch_lineage_branch_fkey
        foreign key (branch_id) references kb.branches (id) on delete cascade,
    constraint branch_lineage_ancestor_fkey
        foreign key (ancestor_branch_id) references kb.branches (id) on delete cascade,
    constraint branch_lineage_depth_check check (depth >= 0)
);
create index branch_lineage_ancestor_branch_id_depth_idx
    on kb.branch_lineage (ancestor_branch_id, depth);
comment on table kb.branch_lineage is
    'Every ancestor of every branch, so that reading through a branch needs no recursion.';
comment on column kb.branch_lineage.depth is 'Steps up from the branch to the ancestor; 0 = itself.';

create table kb.product_versions (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    name text not null,
    description text,
    base_product_version_id uuid,
    created_at timestamptz not null default now(),
    constraint product_versions_pkey primary key (id),
    constraint product_versions_organization_id_project_id_id_key
        unique (organization_id, project_id, id),
    constraint product_versions_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint product_versions_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint product_versions_base_fkey
        foreign key (organization_id, project_id, base_product_version_id)
        references kb.product_versions (organization_id, project_id, id)
        on delete set null (base_product_version_id)
);
create unique index product_versions_project_id_name_key
    on kb.product_versions (project_id, lower(name));
create index product_versions_base_idx
    on kb.product_versions (organization_id, project_id, base_product_version_id);
comment on table kb.product_versions is 'A named state of a project: which version of each object it holds.';
comment on column kb.product_versions.name is 'Unique in its project, whatever its case.';
comment on column kb.product_versions.base_product_version_id is 'The product version it was derived from.';

create table kb.product_version_members (
    product_version_id uuid not null,
    object_canonical_id uuid not null,
    object_version_id uuid not null,
    created_at timestamptz not null default now(),
    constraint product_version_members_pkey primary key (product_version_id, object_canonical_id),
    constraint product_version_members_product_version_fkey
        foreign key (product_version_id) references kb.product_versions (id) on delete cascade
);
comment on table kb.product_version_members is
    'The version of one object in a product version. The object''s ids have no foreign key, on purpose: '
    'a product version records what was, also when old versions are purged.';
comment on column kb.product_version_members.object_canonical_id is
    'The object: canonical_id in kb.graph_objects.';
comment on column kb.product_version_members.object_version_id is
    'The version of it: id in kb.graph_objects.';

create table kb.merge_provenance (
    child_version_id uuid not null,
    parent_version_id uuid not null,
    role text not null,
    created_at timestamptz not null default now(),
    constraint merge_provenance_pkey primary key (child_version_id, parent_version_id, role),
    constraint merge_provenance_role_check check (role in ('source', 'target', 'base'))
);
comment on table kb.merge_provenance is
    'Which versions a merged version came from. Both ids are rows of kb.graph_objects and have no '
    'foreign key, on purpose: the trail outlives purged versions.';
comment on column kb.merge_provenance.child_version_id is 'The version that the merge made.';
comment on column kb.merge_provenance.parent_version_id is 'A version that went into it.';

create table kb.graph_objects (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    branch_id uuid,
    type text not null,
    key text,
    status text,
    version integer not null default 1,
    supersedes_id uuid,
    canonical_id uuid,
    properties jsonb not null default '{}',
    labels text[] not null default '{}',
    deleted_at timestamptz,
    expires_at timestamptz,
    change_summary jsonb,
    content_hash bytea,
    fts tsvector generated always as (
        to_tsvector('pg_catalog.simple'::regconfig, coalesce(key, '') || ' ' || type)
        || jsonb_to_tsvector('pg_catalog.simple'::regconfig, properties, '["all"]')
    ) stored,
    embedding bytea,
    embedding_vec public.vector(768),
    embedding_updated_at timestamptz,
    created_at timestamptz not null default now(),
    constraint graph_objects_pkey primary key (id),
    constraint graph_objects_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint graph_objects_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint graph_objects_branch_fkey
        foreign key (organization_id, project_id, branch_id)
        references kb.branches (organization_id, project_id, id)
        on delete set null (branch_id)
);
-- Head identity. On the main line branch_id is null, and two heads there must still collide.
create unique index graph_objects_head_key
    on kb.graph_objects (project_id, branch_id, type, key) nulls not distinct
    where supersedes_id is null and deleted_at is null and key is not null;
create index graph_objects_branch_idx on kb.graph_objects (organization_id, project_id, branch_id);
create index graph_objects_canonical_id_version_idx
    on kb.graph_objects (canonical_id, version desc);
create index graph_objects_branch_id_canonical_id_version_idx
    on kb.graph_objects (branch_id, canonical_id, version desc);
-- Live rows by project, and by project and branch: one index serves both.
create index graph_objects_live_idx on kb.graph_objects (project_id, branch_id)
    where deleted_at is null;
create index graph_objects_key_idx on kb.graph_objects (key) where key is not null;
create index graph_objects_status_idx on kb.graph_objects (status) where status is not null;
create index graph_objects_fts_idx on kb.graph_objects using gin (fts);
create index graph_objects_embedding_vec_idx
    on kb.graph_objects using hnsw (embedding_vec public.vector_cosine_ops);
comment on table kb.graph_objects is
    'A version of an object of the graph. supersedes_id and canonical_id have no foreign key, on '
    'purpose: versions are written and purged in any order.';
comment on column kb.graph_objects.branch_id is
    'The branch of this version; null = the main line. When a branch is deleted its objects come to the '
    'main line, and that is refused while a head of the same key is there.';
comment on column kb.graph_objects.type is 'Name of the type, as in kb.project_object_type_registry.';
comment on column kb.graph_objects.key is
    'The name by which an object is found again; unique among the heads of its type and branch.';
comment on column kb.graph_objects.supersedes_id is
    'The row that REPLACED this one, despite the name; null = this is the head. No foreign key.';
comment on column kb.graph_objects.canonical_id is
    'What all versions of an object share: the id of its first. No foreign key.';
comment on column kb.graph_objects.deleted_at is 'When the object was deleted; such a row is not live.';
comment on column kb.graph_objects.change_summary is 'What differs from the version before.';
comment on column kb.graph_objects.content_hash is 'Hash of the properties; equal = nothing changed.';
comment on column kb.graph_objects.fts is
    'Words of key, type and properties (names and values), for full-text search.';
comment on column kb.graph_objects.embedding is 'The embedding as the provider sent it.';
comment on column kb.graph_objects.embedding_vec is 'The embedding to search by.';

create table kb.graph_relationships (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    branch_id uuid,
    type text not null,
    src_id uuid not null,
    dst_id uuid not null,
    version integer not null default 1,
    supersedes_id uuid,
    canonical_id uuid,
    properties jsonb not null default '{}',
    deleted_at timestamptz,
    change_summary jsonb,
    content_hash bytea,
    created_at timestamptz not null default now(),
    constraint graph_relationships_pkey primary key (id),
    constraint graph_relationships_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint graph_relationships_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint graph_relationships_branch_fkey
        foreign key (organization_id, project_id, branch_id)
        references kb.branches (organization_id, project_id, id)
        on delete set null (branch_id)
);
-- Head identity, as for objects: one live edge of a type between two ends, on the main line too.
create unique index graph_relationships_head_key
    on kb.graph_relationships (project_id, branch_id, type, src_id, dst_id) nulls not distinct
    where supersedes_id is null and deleted_at is null;
create index graph_relationships_branch_idx
    on kb.graph_relationships (organization_id, project_id, branch_id);
create index graph_relationships_src_id_idx on kb.graph_relationships (src_id);
create index graph_relationships_dst_id_idx on kb.graph_relationships (dst_id);
create index graph_relationships_canonical_id_version_idx
    on kb.graph_relationships (canonical_id, version desc);
create index graph_relationships_branch_id_canonical_id_version_idx
    on kb.graph_relationships (branch_id, canonical_id, version desc);
comment on table kb.graph_relationships is
    'A version of an edge of the graph. src_id, dst_id, supersedes_id and canonical_id have no foreign '
    'key, on purpose: an end is an object whatever its version, and versions come and go in any order.';
comment on column kb.graph_relationships.branch_id is 'The branch of this version; null = the main line.';
comment on column kb.graph_relationships.src_id is 'The object it goes out from. No foreign key.';
comment on column kb.graph_relationships.dst_id is 'The object it leads to. No foreign key.';
comment on column kb.graph_relationships.supersedes_id is
    'The row that REPLACED this one, despite the name; null = this is the head. No foreign key.';
comment on column kb.graph_relationships.canonical_id is
    'What all versions of an edge share: the id of its first. No foreign key.';
comment on column kb.graph_relationships.change_summary is 'What differs from the version before.';
comment on column kb.graph_relationships.content_hash is
    'Hash of the properties; equal = nothing changed.';


-- 8  Type registry and templates -----------------------------------------------------------------

create table kb.object_type_schemas (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    type text not null,
    version integer not null default 1,
    supersedes_id uuid,
    canonical_id uuid,
    json_schema jsonb not null,
    created_at timestamptz not null default now(),
    constraint object_type_schemas_pkey primary key (id),
    constraint object_type_schemas_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint object_type_schemas_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade
);
create unique index object_type_schemas_head_key
    on kb.object_type_schemas (project_id, type) where supersedes_id is null;
create index object_type_schemas_organization_id_project_id_idx
    on kb.object_type_schemas (organization_id, project_id);
comment on table kb.object_type_schemas is
    'A version of the JSON schema that objects of a type obey; one head a type. supersedes_id and '
    'canonical_id have no foreign key, on purpose, as in kb.graph_objects.';
comment on column kb.object_type_schemas.supersedes_id is
    'The row that REPLACED this one, despite the name; null = this is the head. No foreign key.';
comment on column kb.object_type_schemas.canonical_id is
    'What all versions of a schema share: the id of its first. No foreign key.';

create table kb.relationship_type_schemas (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    type text not null,
    version integer not null default 1,
    supersedes_id uuid,
    canonical_id uuid,
    json_schema jsonb not null,
    multiplicity jsonb,
    created_at timestamptz not null default now(),
    constraint relationship_type_schemas_pkey primary key (id),
    constraint relationship_type_schemas_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint relationship_type_schemas_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade
);
create unique index relationship_type_schemas_head_key
    on kb.relationship_type_schemas (project_id, type) where supersedes_id is null;
create index relationship_type_schemas_organization_id_project_id_idx
    on kb.relationship_type_schemas (organization_id, project_id);
comment on table kb.relationship_type_schemas is
    'A version of the JSON schema that edges of a type obey; one head a type. supersedes_id and '
    'canonical_id have no foreign key, on purpose, as in kb.graph_objects.';
comment on column kb.relationship_type_schemas.supersedes_id is
    'The row that REPLACED this one, despite the name; null = this is the head. No foreign key.';
comment on column kb.relationship_type_schemas.canonical_id is
    'What all versions of a schema share: the id of its first. No foreign key.';
comment on column kb.relationship_type_schemas.multiplicity is
    'How many edges of the type an object may have at each end; null = any number.';

create table kb.graph_template_packs (
    id uuid not null default gen_random_uuid(),
    name text not null,
    version text not null,
    description text,
    author text,
    license text,
    repository_url text,
    documentation_url text,
    object_type_schemas jsonb not null default '{}',
    relationship_type_schemas jsonb not null default '{}',
    ui_configs jsonb not null default '{}',
    extraction_prompts jsonb not null default '{}',
    sql_views jsonb not null default '[]',
    signature text,
    checksum text,
    source text not null default 'manual',
    discovery_job_id uuid,
    pending_review boolean not null default false,
    published_at timestamptz not null default now(),
    deprecated_at timestamptz,
    superseded_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint graph_template_packs_pkey primary key (id),
    constraint graph_template_packs_name_version_key unique (name, version),
    constraint graph_template_packs_superseded_by_fkey
        foreign key (superseded_by) references kb.graph_template_packs (id) on delete set null,
    constraint graph_template_packs_source_check
        check (source in ('manual', 'discovered', 'imported', 'system'))
);
create index graph_template_packs_discovery_job_id_idx
    on kb.graph_template_packs (discovery_job_id);
create index graph_template_packs_superseded_by_idx on kb.graph_template_packs (superseded_by);
create trigger graph_template_packs_set_updated_at
    before update on kb.graph_template_packs
    for each row execute function core.set_updated_at();
comment on table kb.graph_template_packs is
    'A published set of types, prompts and views that projects install. It belongs to no organization, '
    'except that a discovered one is seen only by whoever sees its discovery job. The application '
    'does not write it.';
comment on column kb.graph_template_packs.source is 'Where it comes from; decides who may see it.';
comment on column kb.graph_template_packs.discovery_job_id is
    'The job that found it, when discovered. Without one a discovered pack is seen by nobody.';
comment on column kb.graph_template_packs.signature is 'Signature of the publisher over checksum.';
comment on column kb.graph_template_packs.superseded_by is
    'The pack to use instead. Here the name says what it holds, unlike supersedes_id elsewhere.';

create table kb.project_template_packs (
    id uuid not null default gen_random_uuid(),
    project_id uuid not null,
    template_pack_id uuid not null,
    installed_at timestamptz not null default now(),
    installed_by uuid,
    active boolean not null default true,
    customizations jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint project_template_packs_pkey primary key (id),
    constraint project_template_packs_project_id_template_pack_id_key
        unique (project_id, template_pack_id),
    constraint project_template_packs_project_fkey
        foreign key (project_id) references kb.projects (id) on delete cascade,
    constraint project_template_packs_template_pack_fkey
        foreign key (template_pack_id) references kb.graph_template_packs (id) on delete restrict,
    constraint project_template_packs_installed_by_fkey
        foreign key (installed_by) references core.user_profiles (id) on delete set null
);
create index project_template_packs_template_pack_id_idx
    on kb.project_template_packs (template_pack_id);
create index project_template_packs_installed_by_idx on kb.project_template_packs (installed_by);
create trigger project_template_packs_set_updated_at
    before update on kb.project_template_packs
    for each row execute function core.set_updated_at();
comment on table kb.project_template_packs is
    'A pack installed in a project. A pack that is installed anywhere cannot be deleted.';
comment on column kb.project_template_packs.customizations is 'What the project changed in the pack.';

create table kb.project_object_type_registry (
    id uuid not null default gen_random_uuid(),
    project_id uuid not null,
    type_name text not null,
    source text not null,
    template_pack_id uuid,
    schema_version integer not null default 1,
    json_schema jsonb not null,
    ui_config jsonb not null default '{}',
    extraction_config jsonb not null default '{}',
    enabled boolean not null default true,
    discovery_confidence real,
    description text,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint project_object_type_registry_pkey primary key (id),
    constraint project_object_type_registry_project_id_type_name_key unique (project_id, type_name),
    constraint project_object_type_registry_project_fkey
        foreign key (project_id) references kb.projects (id) on delete cascade,
    constraint project_object_type_registry_template_pack_fkey
        foreign key (template_pack_id) references kb.graph_template_packs (id) on delete set null,
    constraint project_object_type_registry_created_by_fkey
        foreign key (created_by) references core.user_profiles (id) on delete set null,
    constraint project_object_type_registry_source_check
        check (source in ('template', 'custom', 'discovered')),
    constraint project_object_type_registry_discovery_confidence_check
        check (discovery_confidence between 0 and 1)
);
create index project_object_type_registry_template_pack_id_idx
    on kb.project_object_type_registry (template_pack_id);
create index project_object_type_registry_created_by_idx
    on kb.project_object_type_registry (created_by);
create trigger project_object_type_registry_set_updated_at
    before update on kb.project_object_type_registry
    for each row execute function core.set_updated_at();
comment on table kb.project_object_type_registry is
    'The types of object a project knows, whether from a pack, made by hand or discovered.';
comment on column kb.project_object_type_registry.template_pack_id is 'The pack it came with, if any.';
comment on column kb.project_object_type_registry.discovery_confidence is
    'How sure discovery was of it, 0 to 1; null = not discovered.';


-- 9  Extraction and discovery --------------------------------------------------------------------

create table kb.object_extraction_jobs (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    source_type text not null,
    source_id uuid,
    source_metadata jsonb not null default '{}',
    extraction_config jsonb not null default '{}',
    status text not null default 'pending',
    total_items integer not null default 0,
    processed_items integer not null default 0,
    successful_items integer not null default 0,
    failed_items integer not null default 0,
    discovered_types jsonb not null default '[]',
    created_objects jsonb not null default '[]',
    logs jsonb not null default '[]',
    error_message text,
    error_details jsonb,
    debug_info jsonb,
    started_at timestamptz,
    completed_at timestamptz,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint object_extraction_jobs_pkey primary key (id),
    constraint object_extraction_jobs_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint object_extraction_jobs_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint object_extraction_jobs_created_by_fkey
        foreign key (created_by) references core.user_profiles (id) on delete set null,
    constraint object_extraction_jobs_source_type_check
        check (source_type in ('document', 'api', 'manual', 'bulk_import')),
    constraint object_extraction_jobs_status_check
        check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
    constraint object_extraction_jobs_items_not_negative_check
        check (least(total_items, processed_items, successful_items, failed_items) >= 0),
    constraint object_extraction_jobs_processed_items_check
        check (processed_items = successful_items + failed_items),
    constraint object_extraction_jobs_started_at_check check (started_at >= created_at),
    -- A job cancelled before it started is completed all the same, hence the coalesce.
    constraint object_extraction_jobs_completed_at_check
        check (completed_at >= coalesce(started_at, created_at))
);
create index object_extraction_jobs_organization_id_project_id_idx
    on kb.object_extraction_jobs (organization_id, project_id);
create index object_extraction_jobs_created_by_idx on kb.object_extraction_jobs (created_by);
create trigger object_extraction_jobs_set_updated_at
    before update on kb.object_extraction_jobs
    for each row execute function core.set_updated_at();
comment on table kb.object_extraction_jobs is 'One run that takes objects of the graph out of a source.';
comment on column kb.object_extraction_jobs.source_id is
    'The document, when source_type is document. No foreign key: other sources live elsewhere.';
comment on column kb.object_extraction_jobs.processed_items is
    'Items done so far: successful_items + failed_items.';
comment on column kb.object_extraction_jobs.created_objects is 'Ids of the objects that the job made.';
comment on column kb.object_extraction_jobs.debug_info is 'Calls and answers, kept for finding faults.';

create table kb.discovery_jobs (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    status text not null,
    progress jsonb not null default '{
        "current_step": 0,
        "total_steps": 0,
        "message": "Initializing..."
    }',
    config jsonb not null default '{}',
    kb_purpose text not null,
    discovered_types jsonb not null default '[]',
    discovered_relationships jsonb not null default '[]',
    template_pack_id uuid,
    error_message text,
    retry_count integer not null default 0,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint discovery_jobs_pkey primary key (id),
    constraint discovery_jobs_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint discovery_jobs_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint discovery_jobs_template_pack_fkey
        foreign key (template_pack_id) references kb.graph_template_packs (id) on delete set null,
    constraint discovery_jobs_status_check check (
        status in (
            'pending', 'analyzing_documents', 'extracting_types', 'refining_schemas',
            'creating_pack', 'completed', 'failed', 'cancelled'
        )
    )
);
create index discovery_jobs_organization_id_project_id_idx
    on kb.discovery_jobs (organization_id, project_id);
create index discovery_jobs_template_pack_id_idx on kb.discovery_jobs (template_pack_id);
create trigger discovery_jobs_set_updated_at
    before update on kb.discovery_jobs
    for each row execute function core.set_updated_at();
comment on table kb.discovery_jobs is
    'One run that looks for the types of object a project''s documents speak of.';
comment on column kb.discovery_jobs.kb_purpose is 'The project''s purpose as it was when the job started.';
comment on column kb.discovery_jobs.template_pack_id is 'The pack that the job made.';

-- The other half of the circle: a pack names its job, the job names its pack.
alter table kb.graph_template_packs
    add constraint graph_template_packs_discovery_job_fkey
    foreign key (discovery_job_id) references kb.discovery_jobs (id) on delete set null;

create table kb.discovery_type_candidates (
    id uuid not null default gen_random_uuid(),
    job_id uuid not null,
    batch_number integer not null,
    type_name text not null,
    description text,
    confidence real not null,
    inferred_schema jsonb not null,
    example_instances jsonb not null default '[]',
    proposed_relationships jsonb not null default '[]',
    frequency integer not null default 1,
    source_document_ids uuid[] not null default '{}',
    extraction_context text,
    refinement_iteration integer not null default 1,
    merged_from uuid[],
    status text not null default 'candidate',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint discovery_type_candidates_pkey primary key (id),
    constraint discovery_type_candidates_job_fkey
        foreign key (job_id) references kb.discovery_jobs (id) on delete cascade,
    constraint discovery_type_candidates_confidence_check check (confidence between 0 and 1),
    constraint discovery_type_candidates_status_check
        check (status in ('candidate', 'approved', 'rejected', 'merged'))
);
create index discovery_type_candidates_job_id_idx on kb.discovery_type_candidates (job_id);
create trigger discovery_type_candidates_set_updated_at
    before update on kb.discovery_type_candidates
    for each row execute function core.set_updated_at();
comment on table kb.discovery_type_candidates is
    'A type that a discovery job proposes, before it is accepted.';
comment on column kb.discovery_type_candidates.batch_number is 'The batch of documents it was seen in.';
comment on column kb.discovery_type_candidates.frequency is 'How often it was seen.';
comment on column kb.discovery_type_candidates.merged_from is
    'The candidates it replaces, when it was made by merging; ids of this table.';


-- 10  Chat ---------------------------------------------------------------------------------------

create table kb.chat_conversations (
    id uuid not null default gen_random_uuid(),
    title text not null,
    owner_user_id uuid,
    is_private boolean not null default true,
    organization_id uuid not null,
    project_id uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint chat_conversations_pkey primary key (id),
    constraint chat_conversations_organization_id_id_key unique (organization_id, id),
    constraint chat_conversations_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint chat_conversations_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint chat_conversations_owner_user_fkey
        foreign key (owner_user_id) references core.user_profiles (id) on delete set null
);
create index chat_conversations_organization_id_project_id_idx
    on kb.chat_conversations (organization_id, project_id);
create index chat_conversations_owner_user_id_idx on kb.chat_conversations (owner_user_id);
create trigger chat_conversations_set_updated_at
    before update on kb.chat_conversations
    for each row execute function core.set_updated_at();
comment on table kb.chat_conversations is 'A conversation with the knowledge base.';
comment on column kb.chat_conversations.is_private is
    'Only its owner is shown it. The application sees to that; row security stops at the organization.';
comment on column kb.chat_conversations.project_id is 'Null = about the whole organization.';

create table kb.chat_messages (
    id uuid not null default gen_random_uuid(),
    conversation_id uuid not null,
    role text not null,
    content text not null,
    citations jsonb,
    created_at timestamptz not null default now(),
    constraint chat_messages_pkey primary key (id),
    constraint chat_messages_conversation_fkey
        foreign key (conversation_id) references kb.chat_conversations (id) on delete cascade,
    constraint chat_messages_role_check check (role in ('user', 'assistant', 'system'))
);
create index chat_messages_conversation_id_created_at_idx
    on kb.chat_messages (conversation_id, created_at);
comment on table kb.chat_messages is 'One turn of a conversation.';
comment on column kb.chat_messages.citations is 'The chunks that an answer rests on.';

create table kb.mcp_tool_calls (
    id uuid not null default gen_random_uuid(),
    session_id text not null,
    conversation_id uuid,
    turn_number integer not null,
    tool_name text not null,
    tool_parameters jsonb,
    tool_result jsonb,
    execution_time_ms integer,
    status text not null,
    error_message text,
    final_llm_prompt text,
    organization_id uuid not null,
    project_id uuid,
    created_at timestamptz not null default now(),
    constraint mcp_tool_calls_pkey primary key (id),
    constraint mcp_tool_calls_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint mcp_tool_calls_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    -- Without project_id: it may be null on either side, and a key with a null in it is not checked.
    constraint mcp_tool_calls_conversation_fkey
        foreign key (organization_id, conversation_id)
        references kb.chat_conversations (organization_id, id)
        on delete set null (conversation_id),
    constraint mcp_tool_calls_status_check check (status in ('success', 'error', 'timeout'))
);
create index mcp_tool_calls_organization_id_project_id_idx
    on kb.mcp_tool_calls (organization_id, project_id);
create index mcp_tool_calls_organization_id_conversation_id_idx
    on kb.mcp_tool_calls (organization_id, conversation_id);
comment on table kb.mcp_tool_calls is
    'A tool that the model called during a conversation, by the Model Context Protocol.';
comment on column kb.mcp_tool_calls.session_id is 'The protocol''s session; also set without a conversation.';
comment on column kb.mcp_tool_calls.turn_number is 'The turn of the conversation that made the call.';


-- 11  Integrations -------------------------------------------------------------------------------

create table kb.integrations (
    id uuid not null default gen_random_uuid(),
    name text not null,
    display_name text not null,
    description text,
    enabled boolean not null default false,
    organization_id uuid not null,
    project_id uuid not null,
    settings_encrypted bytea,
    logo_url text,
    webhook_secret text,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint integrations_pkey primary key (id),
    constraint integrations_name_project_id_key unique (name, project_id),
    constraint integrations_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint integrations_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint integrations_created_by_fkey
        foreign key (created_by) references core.user_profiles (id) on delete set null
);
create index integrations_organization_id_project_id_idx
    on kb.integrations (organization_id, project_id);
create index integrations_created_by_idx on kb.integrations (created_by);
create trigger integrations_set_updated_at
    before update on kb.integrations
    for each row execute function core.set_updated_at();
comment on table kb.integrations is 'A connection of a project to another system.';
comment on column kb.integrations.name is 'The kind of system, for programs: clickup.';
comment on column kb.integrations.settings_encrypted is
    'Credentials and options, encrypted by the application; the key is not in the database.';
comment on column kb.integrations.webhook_secret is 'Proves that a call comes from the other system.';

create table kb.clickup_sync_state (
    id uuid not null default gen_random_uuid(),
    integration_id uuid not null,
    last_full_import_at timestamptz,
    last_workspace_sync_at timestamptz,
    last_space_sync_at timestamptz,
    last_folder_sync_at timestamptz,
    last_list_sync_at timestamptz,
    last_task_sync_at timestamptz,
    sync_cursor text,
    workspace_cursor jsonb,
    active_import_job_id uuid,
    import_status text,
    total_imported_objects integer not null default 0,
    total_synced_tasks integer not null default 0,
    total_synced_lists integer not null default 0,
    total_synced_spaces integer not null default 0,
    consecutive_failures integer not null default 0,
    last_error text,
    last_error_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint clickup_sync_state_pkey primary key (id),
    constraint clickup_sync_state_integration_id_key unique (integration_id),
    constraint clickup_sync_state_integration_fkey
        foreign key (integration_id) references kb.integrations (id) on delete cascade
);
create trigger clickup_sync_state_set_updated_at
    before update on kb.clickup_sync_state
    for each row execute function core.set_updated_at();
comment on table kb.clickup_sync_state is
    'How far the import from ClickUp has come; one row an integration. active_import_job_id has no '
    'foreign key, on purpose.';
comment on column kb.clickup_sync_state.sync_cursor is 'Where the next page begins, as ClickUp gave it.';
comment on column kb.clickup_sync_state.workspace_cursor is 'The same, for each workspace.';
comment on column kb.clickup_sync_state.active_import_job_id is
    'The job that is importing now. No foreign key, on purpose: jobs are cleaned up without asking here.';
comment on column kb.clickup_sync_state.consecutive_failures is 'Failures since the last success; backs off.';


-- 12  System -------------------------------------------------------------------------------------

create table kb.tags (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid not null,
    product_version_id uuid,
    name text not null,
    description text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint tags_pkey primary key (id),
    constraint tags_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint tags_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint tags_product_version_fkey
        foreign key (organization_id, project_id, product_version_id)
        references kb.product_versions (organization_id, project_id, id) on delete cascade,
    constraint tags_name_not_blank_check check (name ~ '\S')
);
create unique index tags_project_id_name_key on kb.tags (project_id, lower(name));
create index tags_product_version_idx on kb.tags (organization_id, project_id, product_version_id);
create trigger tags_set_updated_at
    before update on kb.tags
    for each row execute function core.set_updated_at();
comment on table kb.tags is 'A name given to a project''s state, with or without a product version.';
comment on column kb.tags.name is 'Unique in its project, whatever its case; not blank.';

create table kb.notifications (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    project_id uuid,
    user_id uuid,
    title text not null,
    message text not null,
    type text,
    category text,
    severity text not null default 'info',
    importance text not null default 'other',
    related_resource_type text,
    related_resource_id uuid,
    actions jsonb not null default '[]',
    read_at timestamptz,
    dismissed_at timestamptz,
    cleared_at timestamptz,
    snoozed_until timestamptz,
    expires_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint notifications_pkey primary key (id),
    constraint notifications_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint notifications_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint notifications_user_fkey
        foreign key (user_id) references core.user_profiles (id) on delete cascade,
    constraint notifications_severity_check check (severity in ('info', 'success', 'warning', 'error')),
    constraint notifications_importance_check check (importance in ('important', 'other'))
);
create index notifications_organization_id_project_id_idx
    on kb.notifications (organization_id, project_id);
create index notifications_user_id_created_at_idx on kb.notifications (user_id, created_at desc);
-- The inbox. It holds few of the rows, so it stays small; it cannot serve the foreign key.
create index notifications_unread_idx on kb.notifications (user_id, importance, created_at desc)
    where read_at is null and cleared_at is null;
create trigger notifications_set_updated_at
    before update on kb.notifications
    for each row execute function core.set_updated_at();
comment on table kb.notifications is 'A message to a person, or to all of an organization or project.';
comment on column kb.notifications.user_id is 'Null = everyone who may see the row.';
comment on column kb.notifications.importance is 'Which tab of the inbox it comes under.';
comment on column kb.notifications.related_resource_id is
    'What it is about. No foreign key: related_resource_type says in which table.';
comment on column kb.notifications.actions is 'The buttons under it.';
comment on column kb.notifications.dismissed_at is 'When the pop-up was closed; it stays in the inbox.';
comment on column kb.notifications.cleared_at is 'When it left the inbox.';

create table kb.audit_log (
    id bigint not null generated always as identity,
    occurred_at timestamptz not null default now(),
    event_type text not null,
    action text not null,
    endpoint text not null,
    http_method text not null,
    outcome text not null,
    user_id uuid,
    user_email text,
    resource_type text,
    resource_id text,
    error_code text,
    error_message text,
    ip_address inet,
    user_agent text,
    request_id text,
    status_code integer,
    details jsonb,
    created_at timestamptz not null default now(),
    constraint audit_log_pkey primary key (id),
    constraint audit_log_user_fkey
        foreign key (user_id) references core.user_profiles (id) on delete set null,
    constraint audit_log_outcome_check check (outcome in ('success', 'failure', 'denied'))
);
create index audit_log_occurred_at_idx on kb.audit_log (occurred_at);
create index audit_log_user_id_occurred_at_idx on kb.audit_log (user_id, occurred_at);
create index audit_log_resource_type_resource_id_idx on kb.audit_log (resource_type, resource_id);
create index audit_log_event_type_idx on kb.audit_log (event_type);
create index audit_log_details_idx on kb.audit_log using gin (details);
comment on table kb.audit_log is
    'Who did what. The application may add to it, and neither read nor change it. It belongs to no '
    'organization: a refused login has none.';
comment on column kb.audit_log.occurred_at is 'When it happened; created_at is when it was written down.';
comment on column kb.audit_log.user_email is 'As it was then; stays when the person is deleted.';
comment on column kb.audit_log.resource_id is 'Text, as resources need not be rows.';
comment on column kb.audit_log.status_code is 'The HTTP status of the answer.';

create table kb.system_process_logs (
    id uuid not null default gen_random_uuid(),
    process_id text not null,
    process_type text not null,
    level text not null,
    message text not null,
    metadata jsonb,
    logged_at timestamptz not null default now(),
    organization_id uuid not null,
    project_id uuid,
    created_at timestamptz not null default now(),
    constraint system_process_logs_pkey primary key (id),
    constraint system_process_logs_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint system_process_logs_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint system_process_logs_level_check
        check (level in ('debug', 'info', 'warn', 'error', 'fatal'))
);
create index system_process_logs_organization_id_project_id_idx
    on kb.system_process_logs (organization_id, project_id);
comment on table kb.system_process_logs is 'What background processes report while they work.';
comment on column kb.system_process_logs.process_id is
    'The job that reports. No foreign key: process_type says in which table.';

create table kb.llm_call_logs (
    id uuid not null default gen_random_uuid(),
    process_id text not null,
    process_type text not null,
    model_name text not null,
    request_payload jsonb not null,
    response_payload jsonb,
    usage_metrics jsonb,
    status text not null,
    error_message text,
    input_tokens integer,
    output_tokens integer,
    total_tokens integer,
    duration_ms integer,
    cost_usd numeric(10, 6),
    started_at timestamptz not null default now(),
    completed_at timestamptz,
    organization_id uuid not null,
    project_id uuid,
    created_at timestamptz not null default now(),
    constraint llm_call_logs_pkey primary key (id),
    constraint llm_call_logs_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint llm_call_logs_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    constraint llm_call_logs_status_check
        check (status in ('pending', 'success', 'error', 'timeout'))
);
create index llm_call_logs_organization_id_project_id_idx
    on kb.llm_call_logs (organization_id, project_id);
comment on table kb.llm_call_logs is 'One call of a language model: what was asked, answered and paid.';
comment on column kb.llm_call_logs.process_id is
    'The job that called. No foreign key: process_type says in which table.';
comment on column kb.llm_call_logs.usage_metrics is 'What the provider counted, as it sent it.';


-- 13  Jobs, policies of embedding, settings ------------------------------------------------------

create table kb.embedding_policies (
    id uuid not null default gen_random_uuid(),
    project_id uuid not null,
    object_type text not null,
    enabled boolean not null default true,
    max_property_size integer default 10000,
    required_labels text[] not null default '{}',
    excluded_labels text[] not null default '{}',
    relevant_paths text[] not null default '{}',
    excluded_statuses text[] not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint embedding_policies_pkey primary key (id),
    constraint embedding_policies_project_id_object_type_key unique (project_id, object_type),
    constraint embedding_policies_project_fkey
        foreign key (project_id) references kb.projects (id) on delete cascade
);
create trigger embedding_policies_set_updated_at
    before update on kb.embedding_policies
    for each row execute function core.set_updated_at();
comment on table kb.embedding_policies is 'Which objects of a type are embedded, and what of them.';
comment on column kb.embedding_policies.max_property_size is
    'The longest property that is embedded; null = no limit.';
comment on column kb.embedding_policies.required_labels is 'An object needs all of them; empty = none.';
comment on column kb.embedding_policies.excluded_labels is 'An object may have none of them.';
comment on column kb.embedding_policies.relevant_paths is
    'Paths into properties that are embedded; empty = all of them.';

create table kb.graph_embedding_jobs (
    id uuid not null default gen_random_uuid(),
    object_id uuid not null,
    status text not null default 'pending',
    attempt_count integer not null default 0,
    priority integer not null default 0,
    last_error text,
    scheduled_at timestamptz not null default now(),
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint graph_embedding_jobs_pkey primary key (id),
    constraint graph_embedding_jobs_object_fkey
        foreign key (object_id) references kb.graph_objects (id) on delete cascade,
    constraint graph_embedding_jobs_status_check
        check (status in ('pending', 'processing', 'failed', 'completed'))
);
-- Two indexes on object_id: the partial one is the rule, the full one serves the foreign key.
create unique index graph_embedding_jobs_open_object_id_key on kb.graph_embedding_jobs (object_id)
    where status in ('pending', 'processing');
create index graph_embedding_jobs_object_id_idx on kb.graph_embedding_jobs (object_id);
create trigger graph_embedding_jobs_set_updated_at
    before update on kb.graph_embedding_jobs
    for each row execute function core.set_updated_at();
comment on table kb.graph_embedding_jobs is
    'The queue of objects to embed; an object waits or is worked on at most once.';
comment on column kb.graph_embedding_jobs.priority is 'The higher, the sooner.';
comment on column kb.graph_embedding_jobs.scheduled_at is 'Not before then; moved on after a failure.';

create table kb.settings (
    id uuid not null default gen_random_uuid(),
    organization_id uuid,
    project_id uuid,
    key text not null,
    value jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint settings_pkey primary key (id),
    constraint settings_organization_id_project_id_key_key
        unique nulls not distinct (organization_id, project_id, key),
    constraint settings_organization_fkey
        foreign key (organization_id) references kb.orgs (id) on delete cascade,
    constraint settings_project_fkey
        foreign key (organization_id, project_id)
        references kb.projects (organization_id, id) on delete cascade,
    -- A key with a null in it is not checked: without this, a project alone could be anyone's.
    constraint settings_project_needs_organization_check
        check (project_id is null or organization_id is not null)
);
create trigger settings_set_updated_at
    before update on kb.settings
    for each row execute function core.set_updated_at();
comment on table kb.settings is
    'A value for everyone, for an organization or for a project; one each, nulls counting as equal.';
comment on column kb.settings.organization_id is
    'Null = global: readable by all, written by none of the application.';
comment on column kb.settings.project_id is 'Null = for the whole organization.';


-- 14  Row security -------------------------------------------------------------------------------

-- The owner, who migrates, is not bound by any of this; the application never connects as the owner.
-- Policies fail closed: without a setting kb.current_organization() is null, nothing equals it, and
-- no tenant's row is seen or written. USING says which rows are seen, changed and deleted, WITH CHECK
-- what a written row must look like.

-- No table of kb is without it. kb.object_extraction_jobs gets its policies in a later migration;
-- until then the application sees none of its rows.
alter table kb.orgs enable row level security;
alter table kb.projects enable row level security;
alter table kb.organization_memberships enable row level security;
alter table kb.project_memberships enable row level security;
alter table kb.invites enable row level security;
alter table kb.documents enable row level security;
alter table kb.chunks enable row level security;
alter table kb.branches enable row level security;
alter table kb.branch_lineage enable row level security;
alter table kb.product_versions enable row level security;
alter table kb.product_version_members enable row level security;
alter table kb.merge_provenance enable row level security;
alter table kb.graph_objects enable row level security;
alter table kb.graph_relationships enable row level security;
alter table kb.object_type_schemas enable row level security;
alter table kb.relationship_type_schemas enable row level security;
alter table kb.graph_template_packs enable row level security;
alter table kb.project_template_packs enable row level security;
alter table kb.project_object_type_registry enable row level security;
alter table kb.object_extraction_jobs enable row level security;
alter table kb.discovery_jobs enable row level security;
alter table kb.discovery_type_candidates enable row level security;
alter table kb.chat_conversations enable row level security;
alter table kb.chat_messages enable row level security;
alter table kb.mcp_tool_calls enable row level security;
alter table kb.integrations enable row level security;
alter table kb.clickup_sync_state enable row level security;
alter table kb.tags enable row level security;
alter table kb.notifications enable row level security;
alter table kb.audit_log enable row level security;
alter table kb.system_process_logs enable row level security;
alter table kb.llm_call_logs enable row level security;
alter table kb.embedding_policies enable row level security;
alter table kb.graph_embedding_jobs enable row level security;
alter table kb.settings enable row level security;

-- The organization itself, which cannot be created or deleted here, and what is reached by
-- organization_id alone.
create policy orgs_select on kb.orgs for select to app_rls
    using (id = (select kb.current_organization()));

create policy orgs_update on kb.orgs for update to app_rls
    using (id = (select kb.current_organization()))
    with check (id = (select kb.current_organization()));

create policy organization_memberships_tenant on kb.organization_memberships for all to app_rls
    using (organization_id = (select kb.current_organization()))
    with check (organization_id = (select kb.current_organization()));

-- A project is one's own by its id; a set project hides the others.
create policy projects_tenant on kb.projects for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or id = (select kb.current_project()))
    );

-- Rows that always have a project. Many are unique in it by name, and a unique index answers before
-- a foreign key does: who knew the id of another tenant's project could ask it which names are
-- taken there. So the project must be one that is seen, too.
create policy documents_tenant on kb.documents for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and exists (select from kb.projects as p where p.id = documents.project_id)
    );

create policy branches_tenant on kb.branches for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and exists (select from kb.projects as p where p.id = branches.project_id)
    );

create policy product_versions_tenant on kb.product_versions for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and exists (select from kb.projects as p where p.id = product_versions.project_id)
    );

create policy graph_objects_tenant on kb.graph_objects for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and exists (select from kb.projects as p where p.id = graph_objects.project_id)
    );

create policy graph_relationships_tenant on kb.graph_relationships for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and exists (select from kb.projects as p where p.id = graph_relationships.project_id)
    );

create policy object_type_schemas_tenant on kb.object_type_schemas for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and exists (select from kb.projects as p where p.id = object_type_schemas.project_id)
    );

create policy relationship_type_schemas_tenant on kb.relationship_type_schemas for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and exists (select from kb.projects as p where p.id = relationship_type_schemas.project_id)
    );

create policy integrations_tenant on kb.integrations for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and exists (select from kb.projects as p where p.id = integrations.project_id)
    );

create policy tags_tenant on kb.tags for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and exists (select from kb.projects as p where p.id = tags.project_id)
    );

-- Rows that may have none: they belong to the whole organization, whichever project is set.
create policy invites_tenant on kb.invites for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    )
    with check (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    );

create policy chat_conversations_tenant on kb.chat_conversations for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    )
    with check (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    );

create policy mcp_tool_calls_tenant on kb.mcp_tool_calls for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    )
    with check (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
        -- The foreign key cannot carry project_id, see the table: a conversation of a project that is
        -- hidden may not be named either.
        and (
            conversation_id is null
            or exists (
                select from kb.chat_conversations as c where c.id = mcp_tool_calls.conversation_id
            )
        )
    );

create policy notifications_tenant on kb.notifications for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    )
    with check (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    );

create policy system_process_logs_tenant on kb.system_process_logs for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    )
    with check (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    );

create policy llm_call_logs_tenant on kb.llm_call_logs for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    )
    with check (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    );

-- Settings: one's own as above, and the global ones to read. Policies of a command add up, and the
-- second is for select alone, so that a global row can be neither changed nor made.
create policy settings_tenant on kb.settings for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    )
    with check (
        organization_id = (select kb.current_organization())
        and (
            (select kb.current_project()) is null
            or project_id is null
            or project_id = (select kb.current_project())
        )
    );

create policy settings_global on kb.settings for select to app_rls
    using (organization_id is null);

-- Rows reached only through a parent: seen and written where the parent is seen. The sub-selects
-- run as the application, under the policies of the parent, so those are not repeated here.
create policy project_memberships_parent on kb.project_memberships for all to app_rls
    using (exists (select from kb.projects as p where p.id = project_memberships.project_id))
    with check (exists (select from kb.projects as p where p.id = project_memberships.project_id));

create policy embedding_policies_parent on kb.embedding_policies for all to app_rls
    using (exists (select from kb.projects as p where p.id = embedding_policies.project_id))
    with check (exists (select from kb.projects as p where p.id = embedding_policies.project_id));

create policy chunks_parent on kb.chunks for all to app_rls
    using (exists (select from kb.documents as d where d.id = chunks.document_id))
    with check (exists (select from kb.documents as d where d.id = chunks.document_id));

create policy product_version_members_parent on kb.product_version_members for all to app_rls
    using (
        exists (select from kb.product_versions as v where v.id = product_version_members.product_version_id)
    )
    with check (
        exists (select from kb.product_versions as v where v.id = product_version_members.product_version_id)
    );

create policy discovery_type_candidates_parent on kb.discovery_type_candidates for all to app_rls
    using (
        exists (select from kb.discovery_jobs as j where j.id = discovery_type_candidates.job_id)
    )
    with check (
        exists (select from kb.discovery_jobs as j where j.id = discovery_type_candidates.job_id)
    );

create policy chat_messages_parent on kb.chat_messages for all to app_rls
    using (
        exists (select from kb.chat_conversations as c where c.id = chat_messages.conversation_id)
    )
    with check (
        exists (select from kb.chat_conversations as c where c.id = chat_messages.conversation_id)
    );

create policy clickup_sync_state_parent on kb.clickup_sync_state for all to app_rls
    using (exists (select from kb.integrations as i where i.id = clickup_sync_state.integration_id))
    with check (
        exists (select from kb.integrations as i where i.id = clickup_sync_state.integration_id)
    );

create policy graph_embedding_jobs_parent on kb.graph_embedding_jobs for all to app_rls
    using (exists (select from kb.graph_objects as o where o.id = graph_embedding_jobs.object_id))
    with check (
        exists (select from kb.graph_objects as o where o.id = graph_embedding_jobs.object_id)
    );

-- Which versions were merged is seen by whoever sees the merged version.
create policy merge_provenance_parent on kb.merge_provenance for all to app_rls
    using (
        exists (select from kb.graph_objects as o where o.id = merge_provenance.child_version_id)
    )
    with check (
        exists (select from kb.graph_objects as o where o.id = merge_provenance.child_version_id)
    );

-- A line of descent has two parents, and both must be seen.
create policy branch_lineage_parents on kb.branch_lineage for all to app_rls
    using (
        exists (select from kb.branches as b where b.id = branch_lineage.branch_id)
        and exists (select from kb.branches as a where a.id = branch_lineage.ancestor_branch_id)
    )
    with check (
        exists (select from kb.branches as b where b.id = branch_lineage.branch_id)
        and exists (select from kb.branches as a where a.id = branch_lineage.ancestor_branch_id)
    );

-- Template packs: everyone's, except that a discovered one is seen through its job. Read only; the
-- application has no privilege to write them either.
create policy graph_template_packs_select on kb.graph_template_packs for select to app_rls
    using (
        source <> 'discovered'
        or exists (
            select from kb.discovery_jobs as j where j.id = graph_template_packs.discovery_job_id
        )
    );

-- A row may name a pack that is seen, and no other: packs have no organization_id, so the foreign
-- keys cannot say it. A function, as the policy of packs asks discovery_jobs, and the policy of
-- discovery_jobs asks here: written out, that is an infinite recursion. It is not SECURITY DEFINER,
-- so it answers for the application, and its SET clause keeps it from being inlined.
create function kb.template_pack_is_visible(pack_id uuid) returns boolean
language sql
stable
set search_path = ''
return exists (select from kb.graph_template_packs as p where p.id = pack_id);
comment on function kb.template_pack_is_visible(uuid) is
    'Whether the role that asks sees the pack; for the WITH CHECK of rows that refer to one.';

create policy discovery_jobs_tenant on kb.discovery_jobs for all to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
        and (template_pack_id is null or kb.template_pack_is_visible(template_pack_id))
    );

create policy project_template_packs_parent on kb.project_template_packs for all to app_rls
    using (exists (select from kb.projects as p where p.id = project_template_packs.project_id))
    with check (
        exists (select from kb.projects as p where p.id = project_template_packs.project_id)
        and kb.template_pack_is_visible(template_pack_id)
    );

create policy project_object_type_registry_parent on kb.project_object_type_registry for all to app_rls
    using (
        exists (select from kb.projects as p where p.id = project_object_type_registry.project_id)
    )
    with check (
        exists (select from kb.projects as p where p.id = project_object_type_registry.project_id)
        and (template_pack_id is null or kb.template_pack_is_visible(template_pack_id))
    );

-- The audit log takes whatever is written, with or without an organization, and shows nothing.
-- headwater: allow policy-always-true because everybody's actions are logged, and nobody reads them
create policy audit_log_insert on kb.audit_log for insert to app_rls
    with check (true);


-- 15  Privileges ---------------------------------------------------------------------------------

grant usage on schema kb, core to app_rls;
grant select on all tables in schema core to app_rls;
grant select, insert, update, delete on all tables in schema kb to app_rls;
grant usage on all sequences in schema kb to app_rls;

-- Less than that, where the application has no business.
revoke insert, delete on kb.orgs from app_rls;
revoke insert, update, delete on kb.graph_template_packs from app_rls;
revoke select, update, delete on kb.audit_log from app_rls;

-- The same for the tables of later migrations. Their row security is theirs to enable.
alter default privileges in schema core grant select on tables to app_rls;
alter default privileges in schema kb grant select, insert, update, delete on tables to app_rls;
alter default privileges in schema kb grant usage on sequences to app_rls;
