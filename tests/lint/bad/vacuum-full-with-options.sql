-- headwater: no-transaction
VACUUM (ANALYZE, FULL) app.log; --! cluster-or-vacuum-full
