create table app.b (i int);
create table app.c (i int);
