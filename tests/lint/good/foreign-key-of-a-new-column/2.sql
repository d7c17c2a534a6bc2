-- headwater: no-transaction
create index concurrently products_maker_id on app.products (maker_id);
