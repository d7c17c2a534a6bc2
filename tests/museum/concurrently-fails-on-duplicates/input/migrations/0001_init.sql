create schema app;
create table app.t (id int);
insert into app.t values (1), (1);
