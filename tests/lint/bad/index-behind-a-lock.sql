alter table app.customers add column note text;
create index orders_placed on app.orders (placed); --! require-concurrent-index-creation, work-after-lock
