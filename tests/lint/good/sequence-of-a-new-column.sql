create sequence app.order_numbers;
alter table app.orders add column no bigint;
alter table app.orders alter column no set default nextval('app.order_numbers');
alter sequence app.order_numbers owned by app.orders.no;
