alter table app.orders add constraint few check (qty < 10) not valid;
alter table app.products
    alter column size set default 0;
insert into app.items (order_id, product_id) values (1, 1); --! fails
