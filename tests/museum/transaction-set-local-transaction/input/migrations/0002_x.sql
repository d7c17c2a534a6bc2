set local transaction read only;
select 1;
