create table app.notes ( --! foreign-key-without-index
    id bigint generated always as identity primary key,
    customer_id bigint references app.customers (id)
);
