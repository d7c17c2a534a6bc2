-- headwater: no-transaction
begin;
create table app.a ();
commit;
