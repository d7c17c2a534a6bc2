/* a */ BEGIN WORK;
select 1;
