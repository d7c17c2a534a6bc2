-- headwater: no-transaction
create index concurrently customers_name on app.customers (name);
