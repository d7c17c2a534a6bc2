create schema app;
create table app.t (v text);
