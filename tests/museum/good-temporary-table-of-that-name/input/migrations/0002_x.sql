create temp table schema_migrations (version text);
create table app.a ();
