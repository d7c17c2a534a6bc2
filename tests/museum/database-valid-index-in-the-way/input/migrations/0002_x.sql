-- headwater: no-transaction
create unique index concurrently u on app.t (id);
