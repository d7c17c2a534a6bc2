select pg_advisory_unlock_all();
select pg_advisory_unlock(4815162342);
create table app.a ();
