-- headwater: no-transaction
create table app.a (i int);
create index concurrently x on app.a (i);
create index concurrently y on app.a (i)