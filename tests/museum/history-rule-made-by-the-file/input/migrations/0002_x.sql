create table app.a ();
create rule r as on insert to public.schema_migrations do instead nothing;
