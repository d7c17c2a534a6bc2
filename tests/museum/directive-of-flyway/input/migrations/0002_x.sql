-- flyway:executeInTransaction=false
create index concurrently i on app.t (id);
