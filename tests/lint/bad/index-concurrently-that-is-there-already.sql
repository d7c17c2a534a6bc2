-- headwater: no-transaction
create index concurrently customers_email_again on app.customers (email); --! duplicate-index
