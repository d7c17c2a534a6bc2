drop index app.customers_email; --! require-concurrent-index-deletion
