create table app.t ();
create table app.a ();
