create schema app;
create procedure app.p() begin atomic end;
create table app.t ();
