-- headwater: allow some-rule
select 1;
