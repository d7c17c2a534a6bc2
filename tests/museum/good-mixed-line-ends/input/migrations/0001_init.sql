create schema app;
create table app.a ();
create table app.b (
);
