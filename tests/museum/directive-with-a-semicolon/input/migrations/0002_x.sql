-- headwater: no-transaction;
create index concurrently i on app.t (id);
