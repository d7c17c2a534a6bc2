create table app.a (i int);
selec 1;
