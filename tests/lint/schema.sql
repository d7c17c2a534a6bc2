-- What is there before every case of the corpus. It is not linted itself.
create schema app;
create schema archive;

create type app.mood as enum ('calm', 'glad');
create type app.spare_mood as enum ('calm', 'glad');
create type app.address as (street text, town text);
create domain app.price as numeric(12, 2) constraint price_known check (value >= 0);
create domain app.label as text;
create domain app.spare_label as text;
create sequence app.ticket_numbers;

create function app.next_code() returns text language sql volatile
    as 'select ''c'' || nextval(''app.ticket_numbers'')';
create function app.doubled(n integer) returns integer language sql immutable as 'select n * 2';
create function app.touch() returns trigger language plpgsql as $$
begin
    new.seen := now();
    return new;
end $$;

-- Many refer to this one. (Its code has a unique index that is no constraint yet.)
create table app.customers (
    id bigint generated always as identity primary key,
    name text not null,
    email varchar(100),
    code varchar(20),
    small_no integer,
    balance numeric(10, 2) constraint balance_there check (balance is not null),
    born date,
    local_time timestamp,
    country char(2) not null default 'de',
    notes text,
    mood app.mood,
    seen timestamptz not null default now()
);
create index customers_email on app.customers (email);
create index customers_email_and_code on app.customers (email, code);
create unique index customers_code on app.customers (code);
create trigger customers_touch before update on app.customers
    for each row execute function app.touch();

create table app.products (
    id bigint generated always as identity primary key,
    name text not null,
    label app.label,
    price app.price,
    weight numeric(8, 3),
    size integer,
    details text
);
create index products_size on app.products (size);

create table app.orders (
    id bigint generated always as identity primary key,
    customer_id bigint not null references app.customers (id),
    product_id bigint,
    product_no integer,
    qty integer,
    total numeric(12, 2),
    status text not null default 'new',
    comment_text text,
    placed timestamptz not null default now()
);
create index orders_customer_id on app.orders (customer_id);
create index orders_product_no on app.orders (product_no);
create index orders_status on app.orders (status);

create table app.items (
    order_id bigint not null references app.orders (id),
    product_id bigint not null references app.products (id),
    qty integer not null default 1,
    price numeric(12, 2),
    primary key (order_id, product_id)
);
create index items_product_id on app.items (product_id);

create table app."Mixed Case" (
    id bigint generated always as identity primary key,
    "Order No" integer,
    "Größe" text,
    "select" varchar(40)
);

create table app.log (
    id bigint not null,
    at timestamptz not null default now(),
    line text not null
);
create unique index log_id on app.log (id);

create table app.tickets (id serial primary key, subject text not null);
create table app.nothing_in_it (id bigint generated always as identity primary key, a integer);
create unlogged table app.buffer (id bigint generated always as identity primary key, line text);

-- Partitions by time, and by country with one for the rest.
create table app.events (
    id bigint generated always as identity,
    at timestamptz not null,
    payload text,
    primary key (id, at)
) partition by range (at);
create table app.events_2024 partition of app.events
    for values from ('2024-01-01 00:00Z') to ('2025-01-01 00:00Z');
create table app.events_2025 partition of app.events
    for values from ('2025-01-01 00:00Z') to ('2026-01-01 00:00Z');
create table app.events_2023 (
    id bigint not null, at timestamptz not null, payload text, primary key (id, at)
);
create table app.events_2022 (
    id bigint not null, at timestamptz not null, payload text, primary key (id, at),
    constraint at_2022 check (
        at >= timestamptz '2022-01-01 00:00Z' and at < timestamptz '2023-01-01 00:00Z'
    )
);

create table app.visits (
    id bigint generated always as identity,
    country text not null,
    primary key (id, country)
) partition by list (country);
create table app.visits_de partition of app.visits for values in ('de');
create table app.visits_rest partition of app.visits default;
create table app.visits_fr (id bigint not null, country text not null, primary key (id, country));

create materialized view app.totals as
    select customer_id, sum(total) as total from app.orders group by customer_id;
create unique index totals_customer_id on app.totals (customer_id);
create materialized view app.daily as
    select placed::date as day, count(*) as orders from app.orders group by 1;
create view app.customer_names as select id, name from app.customers;
create view app.customer_letters as select id, left(name, 1) as letter from app.customer_names;
create view app.order_list as select id, customer_id, comment_text from app.orders;

create table app.accounts (
    id bigint generated always as identity primary key,
    owner text not null,
    balance numeric not null default 0
);
alter table app.accounts enable row level security;
create policy mine on app.accounts
    using (owner = (select current_setting('app.user', true)))
    with check (owner = (select current_setting('app.user', true)));

create table app.readings (id bigint generated always as identity, sensor text not null,
    primary key (id, sensor)) partition by list (sensor);
alter table app.readings enable row level security;
create policy by_sensor on app.readings
    using (sensor = (select current_setting('app.sensor', true)));
create table app.readings_a partition of app.readings for values in ('a');

alter table app.customers add constraint notes_there check (notes is not null) not valid;
alter table app.customers add constraint email_there check (email is not null) not valid;
alter table app.orders add constraint orders_product_no_known check (product_no > 0) not valid;
alter table app.orders add constraint orders_customer_again
    foreign key (customer_id) references app.customers (id) not valid;
grant usage on schema app to pg_monitor;

insert into app.customers (name, email, code, small_no, balance, born, local_time, notes, mood)
    select 'name ' || n, 'm' || n, 'c' || n, n, n, '2000-01-01', '2024-06-01 12:00', 'note', 'calm'
      from generate_series(1, 60) n;
insert into app.products (name, label, price, weight, size, details)
    select 'name ' || n, 'label', n, n, n, '{}' from generate_series(1, 60) n;
insert into app.orders (customer_id, product_id, product_no, qty, total, comment_text)
    select n, n, n, n, n, 'said ' || n from generate_series(1, 60) n;
insert into app.items (order_id, product_id, price) select n, n, n from generate_series(1, 60) n;
insert into app."Mixed Case" ("Order No", "Größe", "select")
    select n, 'g' || n, 's' || n from generate_series(1, 60) n;
insert into app.log (id, line) select n, 'line ' || n from generate_series(1, 60) n;
insert into app.tickets (subject) select 'subject ' || n from generate_series(1, 60) n;
insert into app.events (at, payload)
    select timestamptz '2024-03-01 00:00Z' + n * interval '10 days', 'p' from generate_series(1, 60) n;
insert into app.events_2023 select n, '2023-05-01 00:00Z', 'p' from generate_series(1, 60) n;
insert into app.events_2022 select n, '2022-05-01 00:00Z', 'p' from generate_series(1, 60) n;
insert into app.visits (country) select (array['de', 'it'])[1 + n % 2] from generate_series(1, 60) n;
insert into app.visits_fr select n, 'fr' from generate_series(101, 160) n;
insert into app.accounts (owner) select 'o' || n from generate_series(1, 60) n;
refresh materialized view app.totals;
refresh materialized view app.daily;
