-- headwater: no-transaction
DROP INDEX CONCURRENTLY IF EXISTS app.customers_email;
