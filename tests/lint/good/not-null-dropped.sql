alter table app.customers alter column name drop not null;
