select 1;
reindex schema app;
