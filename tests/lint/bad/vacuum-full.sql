-- headwater: no-transaction
vacuum full app.log; --! cluster-or-vacuum-full
