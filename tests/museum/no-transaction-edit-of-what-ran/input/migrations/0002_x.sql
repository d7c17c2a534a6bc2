-- headwater: no-transaction
create table app.a ();
select 1/0;
