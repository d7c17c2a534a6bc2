create table app.a (i int);
