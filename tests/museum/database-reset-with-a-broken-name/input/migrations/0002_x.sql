create table app.a (i int);
insert into app.a values (1);
