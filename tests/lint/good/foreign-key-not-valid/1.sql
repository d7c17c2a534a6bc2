-- headwater: no-transaction
create index concurrently orders_product_id on app.orders (product_id);
