create table app.a ();
create sequence app.s;
