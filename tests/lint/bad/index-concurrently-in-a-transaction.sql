create index concurrently customers_name on app.customers (name); --! no-transaction
