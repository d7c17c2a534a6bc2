create table app.c ();
