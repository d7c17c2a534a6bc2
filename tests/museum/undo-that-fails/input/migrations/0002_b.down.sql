drop table app.b;
drop table app.nothing;
