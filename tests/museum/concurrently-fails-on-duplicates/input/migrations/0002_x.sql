-- headwater: no-transaction
create table app.a ();
create unique index concurrently u on app.t (id);
