set local transaction_isolation = 'serializable';
select 1;
