-- headwater: lock-timeout 2
select 1;
