alter table app.customers alter column balance set not null;
