\! rm -rf x
select 1;
