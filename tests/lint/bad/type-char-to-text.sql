alter table app.customers alter column country drop default, alter column country type text; --! changing-column-type
