create table app.a ();
abort work;
