-- headwater: lock-timeout 2s
-- headwater: lock-timeout 3s
select 1;
