-- headwater: no-transaction
create index concurrently if not exists customers_name on app.customers (name); --! concurrently-if-not-exists
