alter table app.customers alter column email type varchar(200);
