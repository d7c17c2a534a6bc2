create schema app;
create function app.f() returns text language sql as $$
select 'x'
$$;
