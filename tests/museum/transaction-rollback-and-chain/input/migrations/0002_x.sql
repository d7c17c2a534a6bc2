create table app.a ();
rollback and chain;
