cluster app.customers using customers_email; --! cluster-or-vacuum-full
