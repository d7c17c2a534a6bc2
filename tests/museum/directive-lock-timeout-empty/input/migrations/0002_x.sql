-- headwater: lock-timeout
select 1;
