create table app.a ();
-- +migrate Down
drop table app.a;
