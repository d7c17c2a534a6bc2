-- One organization, its people, and its two projects.
--
-- Every id is fixed, so that seeds, tests and bookmarks can name a row. Its first byte tells the
-- kind: 0a organization, 0b project, 0c person, 0d document, 0e conversation, 0f template pack.

insert into core.user_profiles (id, zitadel_user_id, first_name, last_name, display_name) values
    ('0c000000-0000-4000-8000-000000000001', 'demo-ada', 'Ada', 'Keller', 'Ada'),
    ('0c000000-0000-4000-8000-000000000002', 'demo-ben', 'Ben', 'Okafor', 'Ben'),
    ('0c000000-0000-4000-8000-000000000003', 'demo-chi', 'Chi', 'Tanaka', 'Chi')
on conflict do nothing;

insert into core.user_emails (user_id, email, verified) values
    ('0c000000-0000-4000-8000-000000000001', 'ada@example.com', true),
    ('0c000000-0000-4000-8000-000000000002', 'ben@example.com', true),
    ('0c000000-0000-4000-8000-000000000003', 'chi@example.com', false)
on conflict do nothing;

insert into kb.orgs (id, name) values
    ('0a000000-0000-4000-8000-000000000001', 'Harbour Works')
on conflict do nothing;

insert into kb.projects (id, organization_id, name, kb_purpose, auto_extract_objects) values
    (
        '0b000000-0000-4000-8000-000000000001',
        '0a000000-0000-4000-8000-000000000001',
        'Cranes',
        'Everything that the crew of a crane has to know.',
        true
    ),
    (
        '0b000000-0000-4000-8000-000000000002',
        '0a000000-0000-4000-8000-000000000001',
        'Office',
        'How the office works.',
        false
    )
on conflict do nothing;

insert into kb.organization_memberships (id, organization_id, user_id, role) values
    (
        '0a000000-0000-4000-8000-000000000101',
        '0a000000-0000-4000-8000-000000000001',
        '0c000000-0000-4000-8000-000000000001',
        'org_admin'
    )
on conflict do nothing;

insert into kb.project_memberships (id, project_id, user_id, role) values
    (
        '0b000000-0000-4000-8000-000000000101',
        '0b000000-0000-4000-8000-000000000001',
        '0c000000-0000-4000-8000-000000000002',
        'project_admin'
    ),
    (
        '0b000000-0000-4000-8000-000000000102',
        '0b000000-0000-4000-8000-000000000001',
        '0c000000-0000-4000-8000-000000000003',
        'project_user'
    ),
    (
        '0b000000-0000-4000-8000-000000000103',
        '0b000000-0000-4000-8000-000000000002',
        '0c000000-0000-4000-8000-000000000003',
        'project_admin'
    )
on conflict do nothing;

-- A setting is a value that somebody may want to change here: the file wins, and a row that says the
-- same already is left alone.
insert into kb.settings as s (id, organization_id, project_id, key, value) values
    ('0a000000-0000-4000-8000-000000000201', null, null, 'chat.model', '{"name": "demo-small"}'),
    (
        '0a000000-0000-4000-8000-000000000202',
        '0a000000-0000-4000-8000-000000000001',
        '0b000000-0000-4000-8000-000000000001',
        'chat.model',
        '{"name": "demo-large"}'
    )
on conflict (organization_id, project_id, key) do update
    set value = excluded.value
    where s.value is distinct from excluded.value;
