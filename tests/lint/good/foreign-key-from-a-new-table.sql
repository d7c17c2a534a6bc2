create table app.notes (
    id bigint generated always as identity primary key,
    customer_id bigint not null references app.customers (id),
    said text not null
);
create index notes_customer_id on app.notes (customer_id);
