reindex table app.customers; --! require-concurrent-reindex
