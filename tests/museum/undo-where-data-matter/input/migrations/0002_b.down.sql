drop table app.b;
