-- +goose NO TRANSACTION
create index concurrently i on app.t (id);
