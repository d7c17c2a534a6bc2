drop index --! require-concurrent-index-deletion
    app.customers_email,
    app.orders_status;
