create table app.a ();
