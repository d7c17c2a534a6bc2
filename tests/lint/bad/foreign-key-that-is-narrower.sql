alter table app.orders add constraint orders_no foreign key (product_no) references app.products (id) not valid; --! foreign-key-narrower
