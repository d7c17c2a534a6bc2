create sequence app.order_numbers;
alter table app.orders add column no bigint default nextval('app.order_numbers'); --! adding-field-with-default
