-- headwater: no-transaction
vacuum (analyze) app.orders;
