alter table app.products add column maker_id bigint default 1 references app.customers (id); --! adding-foreign-key-constraint, foreign-key-without-index
