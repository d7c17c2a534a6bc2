ALTER TABLE app.orders --! foreign-key-without-index
    ADD CONSTRAINT orders_product --! adding-foreign-key-constraint
        FOREIGN KEY (product_id)
        REFERENCES app.products (id)
        ON DELETE SET NULL;
