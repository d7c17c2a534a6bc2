create table app.a (i int references app.t);
