create table app.a ();
