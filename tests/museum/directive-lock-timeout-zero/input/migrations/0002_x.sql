-- headwater: lock-timeout 0s
select 1;
