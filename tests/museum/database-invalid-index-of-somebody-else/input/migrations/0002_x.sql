-- headwater: no-transaction
create table app.a ();
create index concurrently u on app.t (id);
