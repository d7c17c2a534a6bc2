create schema app;
create table app.t (id int, d date default '2024-01-02', ts timestamptz default '2024-01-02 03:04+00', iv interval default '1 day', v text check (v in ('a', 'b')), b bytea default '\x01');
create view app.v as select id, d from app.t where d > date '2024-01-01';
