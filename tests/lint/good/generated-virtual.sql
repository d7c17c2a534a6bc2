alter table app.orders add column double_qty integer generated always as (qty * 2) virtual;
