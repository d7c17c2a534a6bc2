create table app.a ();
rollback to s;
