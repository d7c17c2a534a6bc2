create temp table t ();
create table app.a as select current_user::text as u;
