create table app.b (i int);
