drop index concurrently app.orders_status; --! no-transaction
