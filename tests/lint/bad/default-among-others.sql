alter table app.orders
    add column channel text default 'shop',
    add column token uuid
        default gen_random_uuid(), --! adding-field-with-default
    add column seen timestamptz default now();
