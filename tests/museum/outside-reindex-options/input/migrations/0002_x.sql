select 1;
reindex (concurrently on, verbose) table app.t;
