create schema app;
-- \restrict x
/*
\connect x
*/
create table app.t (v text default '
\i x', w text default E'\\i');
create function app.f() returns text language sql as $$
select '
\q'
$$;
