-- Documents remember what the system they were imported from knew about them: ids, paths, owners.
-- A constant default is kept in the catalogue, so that adding the column does not rewrite the table.

alter table kb.documents
    add column integration_metadata jsonb not null default '{}';

comment on column kb.documents.integration_metadata is
    'What the system that the document was imported from knows of it; {} = not imported.';

-- For containment: integration_metadata @> '{"clickup": {"task_id": "86c1"}}'.
-- headwater: allow require-concurrent-index-creation, work-after-lock because the column is new: {} everywhere
create index documents_integration_metadata_idx on kb.documents using gin (integration_metadata);
