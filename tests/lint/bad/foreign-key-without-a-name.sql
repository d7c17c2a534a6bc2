alter table app.orders add foreign key (product_id) references app.products; --! adding-foreign-key-constraint, foreign-key-without-index
