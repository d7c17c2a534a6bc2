reindex index concurrently app.customers_email; --! no-transaction
