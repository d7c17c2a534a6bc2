-- headwater: no-transaction
create index concurrently customers_name on app.customers (name); --! concurrently-not-alone
create index concurrently customers_born on app.customers (born);
