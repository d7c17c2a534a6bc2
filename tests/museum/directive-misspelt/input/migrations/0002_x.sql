-- headwater: no-transacton
create index concurrently i on app.t (id);
