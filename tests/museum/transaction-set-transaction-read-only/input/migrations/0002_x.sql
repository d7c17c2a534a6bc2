set transaction_read_only = on;
select 1;
