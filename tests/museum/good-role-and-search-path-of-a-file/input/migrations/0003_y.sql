create table app.b (i int);
create table t (u text);
insert into t select u from app.a;
