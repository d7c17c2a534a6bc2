create table app.a ();
rollback;
