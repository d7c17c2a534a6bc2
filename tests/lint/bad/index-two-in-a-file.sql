create index customers_name on app.customers (name); --! require-concurrent-index-creation
create index customers_born on app.customers (born); --! require-concurrent-index-creation
