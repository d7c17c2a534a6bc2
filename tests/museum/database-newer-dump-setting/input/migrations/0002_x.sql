SET no_such_timeout = 0;
create table app.a ();
