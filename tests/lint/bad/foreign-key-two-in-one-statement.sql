alter table app.orders --! foreign-key-without-index
    add constraint orders_product foreign key (product_id) references app.products (id), --! adding-foreign-key-constraint
    add constraint orders_id_is_a_log foreign key (id) references app.log (id); --! adding-foreign-key-constraint
