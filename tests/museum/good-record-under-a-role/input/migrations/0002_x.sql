create table app.a ();
set local role pg_monitor;
