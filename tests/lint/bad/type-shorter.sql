alter table app.customers alter column email type varchar(50); --! changing-column-type
