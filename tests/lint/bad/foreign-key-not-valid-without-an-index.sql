alter table app.orders add constraint orders_product foreign key (product_id) references app.products (id) not valid; --! foreign-key-without-index
