create schema app;
create table app.t (i int);
insert into app.t values (case when pg_current_xact_id_if_assigned() is not null then 1 else 0 end);
