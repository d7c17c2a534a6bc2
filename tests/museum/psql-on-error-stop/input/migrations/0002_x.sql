\set ON_ERROR_STOP off
create table app.a ();
