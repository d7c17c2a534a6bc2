drop table app.b;
commit;
select 1 / 0;
