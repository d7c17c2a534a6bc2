alter table app.products add column maker_id bigint references app.customers (id);
