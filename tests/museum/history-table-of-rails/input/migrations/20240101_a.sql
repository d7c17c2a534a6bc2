create table app.a ();
