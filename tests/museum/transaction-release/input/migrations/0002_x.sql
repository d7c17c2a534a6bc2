create table app.a ();
release savepoint s;
