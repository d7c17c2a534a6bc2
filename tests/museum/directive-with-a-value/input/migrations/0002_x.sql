-- headwater: no-transaction yes
create index concurrently i on app.t (id);
