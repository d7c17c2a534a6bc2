create table app.a ();
[2J select 1;
