begin;
create table app.a ();
commit;
