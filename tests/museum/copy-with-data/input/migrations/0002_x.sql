create table app.a (i int);
copy app.a from stdin;
1
\.
select 1;
