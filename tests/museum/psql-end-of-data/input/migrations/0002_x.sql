create table app.a ();
\.
