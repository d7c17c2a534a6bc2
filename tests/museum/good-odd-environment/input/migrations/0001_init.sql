create schema app;
create table app.t (id int, ts timestamptz, d date, v text);
select pg_sleep(0.3);
insert into app.t values (1, '2024-01-01 00:00', '01/02/2024', 'éı');
