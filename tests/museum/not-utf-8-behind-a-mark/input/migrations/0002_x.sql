select 1;
select 'é';
