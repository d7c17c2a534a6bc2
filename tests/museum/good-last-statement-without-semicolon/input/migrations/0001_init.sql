create schema app;
create table app.t (id int);
insert into app.t values (0);
update app.t set id = 1