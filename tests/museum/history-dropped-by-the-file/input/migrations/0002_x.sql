create table app.a ();
drop table public.schema_migrations;
