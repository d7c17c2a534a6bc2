REINDEX (VERBOSE) INDEX app.customers_email; --! require-concurrent-reindex
