-- headwater: no-transaction
create table app.a ();
vacuum app.t;
