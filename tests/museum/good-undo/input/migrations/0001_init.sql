create schema app;
create table app.a (i int);
