lock table
    app.customers, --! lock-table
    app.orders in exclusive mode; --! lock-table
