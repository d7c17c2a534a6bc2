set transaction snapshot '1-1';
select 1;
