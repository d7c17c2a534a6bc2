-- headwater: no-transactions --! directive
vacuum app.log; --! no-transaction
