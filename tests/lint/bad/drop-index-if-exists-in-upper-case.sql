DROP INDEX IF EXISTS app.customers_email; --! require-concurrent-index-deletion
