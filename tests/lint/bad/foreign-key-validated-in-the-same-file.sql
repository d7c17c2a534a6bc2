alter table app.items add constraint items_order_again foreign key (order_id) references app.orders (id) not valid;
alter table app.items validate constraint items_order_again; --! validate-in-same-file
