-- Documents with their chunks, a conversation about them, and a pack of types that is installed.

insert into kb.documents (id, organization_id, project_id, filename, mime_type, content) values
    (
        '0d000000-0000-4000-8000-000000000001',
        '0a000000-0000-4000-8000-000000000001',
        '0b000000-0000-4000-8000-000000000001',
        'crane-7.md',
        'text/markdown',
        E'Crane 7 lifts 40 tonnes. Its crew checks the hook before each shift.\n\n'
        'In a wind of more than 20 m/s the boom is lowered and the brake is set.'
    ),
    (
        '0d000000-0000-4000-8000-000000000002',
        '0a000000-0000-4000-8000-000000000001',
        '0b000000-0000-4000-8000-000000000001',
        'signals.md',
        'text/markdown',
        E'One arm raised: stop.\n\nBoth arms raised: stop at once.'
    ),
    (
        '0d000000-0000-4000-8000-000000000003',
        '0a000000-0000-4000-8000-000000000001',
        '0b000000-0000-4000-8000-000000000002',
        'keys.txt',
        'text/plain',
        'The key of the archive hangs behind the door.'
    )
on conflict do nothing;

-- A paragraph is a chunk. Its embedding means nothing, and is the same on every machine: cosines of
-- a number that follows from its place, so that near chunks are near.
insert into kb.chunks (document_id, chunk_index, text, embedding)
select
    d.id,
    p.ordinal - 1,
    p.paragraph,
    (
        select array_agg(round(cos(n * (d.place * 10 + p.ordinal) / 100.0)::numeric, 4) order by n)
        from generate_series(1, 768) as n
    )::public.vector(768)
from (
    select id, content, row_number() over (order by id) as place
    from kb.documents
    where id::text like '0d000000-0000-4000-8000-%'
) as d
cross join lateral
    string_to_table(d.content, E'\n\n') with ordinality as p (paragraph, ordinal)
on conflict (document_id, chunk_index) do nothing;

insert into kb.chat_conversations (
    id, title, owner_user_id, is_private, organization_id, project_id
) values
    (
        '0e000000-0000-4000-8000-000000000001',
        'When does crane 7 stop?',
        '0c000000-0000-4000-8000-000000000003',
        false,
        '0a000000-0000-4000-8000-000000000001',
        '0b000000-0000-4000-8000-000000000001'
    )
on conflict do nothing;

insert into kb.chat_messages (id, conversation_id, role, content, citations, created_at) values
    (
        '0e000000-0000-4000-8000-000000000101',
        '0e000000-0000-4000-8000-000000000001',
        'user',
        'At which wind does crane 7 stop?',
        null,
        '2025-11-03 09:00:00+00'
    ),
    (
        '0e000000-0000-4000-8000-000000000102',
        '0e000000-0000-4000-8000-000000000001',
        'assistant',
        'At more than 20 m/s: the boom is lowered and the brake is set.',
        '[{"document_id": "0d000000-0000-4000-8000-000000000001", "chunk_index": 1}]',
        '2025-11-03 09:00:04+00'
    )
on conflict do nothing;

insert into kb.graph_template_packs (
    id, name, version, description, author, object_type_schemas, source, published_at
) values
    (
        '0f000000-0000-4000-8000-000000000001',
        'machines',
        '1.0.0',
        'Machines, their parts, and who looks after them.',
        'Headwater',
        '{"machine": {"required": ["name"]}, "part": {}, "team": {}}',
        'system',
        '2025-11-01 00:00:00+00'
    )
on conflict do nothing;

insert into kb.project_template_packs (
    id, project_id, template_pack_id, installed_at, installed_by
) values
    (
        '0f000000-0000-4000-8000-000000000101',
        '0b000000-0000-4000-8000-000000000001',
        '0f000000-0000-4000-8000-000000000001',
        '2025-11-02 00:00:00+00',
        '0c000000-0000-4000-8000-000000000002'
    )
on conflict do nothing;
