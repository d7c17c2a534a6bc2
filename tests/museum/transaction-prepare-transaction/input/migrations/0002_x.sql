create table app.a ();
prepare transaction 'x';
