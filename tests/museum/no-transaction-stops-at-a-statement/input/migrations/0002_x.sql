-- headwater: no-transaction
create table app.a ();
create table app.t ();
create table app.b ();
