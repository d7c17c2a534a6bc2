create table app.a ();
-- migrate:down
drop table app.a;
