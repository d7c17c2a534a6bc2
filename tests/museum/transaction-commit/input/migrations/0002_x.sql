create table app.a ();
commit;
create table app.b ();
select 1/0;
