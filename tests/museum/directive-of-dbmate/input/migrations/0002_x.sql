-- migrate:up transaction:false
create index concurrently i on app.t (id);
