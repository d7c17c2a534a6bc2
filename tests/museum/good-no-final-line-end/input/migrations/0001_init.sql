create schema app;
create table app.t (i int); -- the end