create schema app;
create table app.t (id int);
set search_path = app;
set role pg_monitor;
