select 1;
copy app.t from stdin;
select 2;
