select 1;
reindex index concurrently app.i;
