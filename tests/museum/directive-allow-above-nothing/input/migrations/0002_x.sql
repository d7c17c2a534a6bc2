select 1;
-- headwater: allow some-rule because it is so
