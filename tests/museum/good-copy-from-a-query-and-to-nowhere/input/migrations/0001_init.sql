create schema app;
create table app.t (stdin int);
create view app.v as select stdin from app.t; -- copy app.t from stdin;
insert into app.t select stdin from app.v;
do $$ begin execute 'copy app.t to program ''cat >/dev/null'''; end $$;
