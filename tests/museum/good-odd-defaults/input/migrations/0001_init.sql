create schema app;
create table app.t (v text default 'a\', d date, ts timestamptz);
insert into app.t values ('é\', '01/02/2024', '2024-01-01 00:00');
