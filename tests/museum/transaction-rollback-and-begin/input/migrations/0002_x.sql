create table app.a ();
rollback; begin;
