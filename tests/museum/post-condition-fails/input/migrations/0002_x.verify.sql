select 1/0 = 1 as "sane";
