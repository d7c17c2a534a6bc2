select 1;
\connect other
create table app.a ();
