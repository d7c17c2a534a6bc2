-- headwater: no-transaction
create unique index concurrently if not exists u on app.t (id);
