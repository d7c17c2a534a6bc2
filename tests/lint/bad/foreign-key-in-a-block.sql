do $$ begin --! foreign-key-without-index
    alter table app.orders
        add constraint orders_product foreign key (product_id) references app.products (id); --! adding-foreign-key-constraint
end $$;
