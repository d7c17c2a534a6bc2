-- The lines end as on Windows.
alter table app.orders
    add column note text,
    alter column qty type bigint; --! changing-column-type
create index orders_placed on app.orders (placed); --! require-concurrent-index-creation, work-after-lock
