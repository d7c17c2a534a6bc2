create schema app;
create table app.t (id int);
create type app.e as enum ('a');
create table app.e_t (e app.e);
