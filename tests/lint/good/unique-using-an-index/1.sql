-- headwater: no-transaction
create unique index concurrently customers_name_key on app.customers (name);
