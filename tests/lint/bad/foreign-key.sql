create index nothing_a on app.nothing_in_it (a); --! require-concurrent-index-creation
alter table app.orders add constraint orders_product foreign key (product_id) references app.products (id); --! adding-foreign-key-constraint, foreign-key-without-index, work-after-lock
