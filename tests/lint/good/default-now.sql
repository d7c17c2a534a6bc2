alter table app.orders
    add column seen timestamptz not null default now(),
    add column day date default current_date;
