vacuum app.log; --! no-transaction
