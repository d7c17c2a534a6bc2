create schema app;
create table app.t (i int);
create table app.log (i int);
create rule r as on insert to app.t do also (insert into app.log values (new.i); insert into app.log values (-new.i));
insert into app.t values (1);
