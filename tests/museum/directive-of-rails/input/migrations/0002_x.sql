-- disable_ddl_transaction!
create index concurrently i on app.t (id);
