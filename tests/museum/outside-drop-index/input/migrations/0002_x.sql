select 1;
drop index concurrently app.i;
