select 1;
create index concurrently i on app.t (id);
