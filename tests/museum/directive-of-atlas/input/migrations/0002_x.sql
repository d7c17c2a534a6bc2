-- atlas:txmode none
create index concurrently i on app.t (id);
