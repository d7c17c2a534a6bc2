savepoint s;
create table app.a ();
rollback to savepoint s;
