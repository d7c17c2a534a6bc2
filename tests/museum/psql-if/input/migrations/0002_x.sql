\if :x
select 1;
\endif
