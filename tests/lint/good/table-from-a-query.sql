create table app.letters as select distinct left(name, 1) as letter from app.customers;
alter table app.letters add primary key (letter);
