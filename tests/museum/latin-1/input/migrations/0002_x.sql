-- café
select 1;
