create table app.a ();
insert into public.schema_migrations (version, checksum) values ('0002_x', 'x');
