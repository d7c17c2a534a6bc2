copy app.t from stdin;
it's
\.
create table app.a ();
