-- headwater: no-transaction
reindex (verbose) index concurrently app.customers_email;
