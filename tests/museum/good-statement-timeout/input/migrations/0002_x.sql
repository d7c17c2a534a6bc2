select pg_sleep(0.5);
create table app.a ();
