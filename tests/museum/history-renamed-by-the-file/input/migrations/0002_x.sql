create table app.a ();
alter table public.schema_migrations rename to gone;
