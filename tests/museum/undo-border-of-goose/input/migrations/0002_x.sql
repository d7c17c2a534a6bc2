create table app.a ();
-- +goose Down
drop table app.a;
