create table app.a ();
comment on table app.a is 'x y';
