create table app.b (held boolean);
insert into app.b select exists (select from pg_locks where locktype = 'advisory' and classid = 1 and objid = 520195046 and pid <> pg_backend_pid());
