analyze app.orders;
