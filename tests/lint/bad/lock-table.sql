lock table app.customers; --! lock-table
update app.customers set born = null where id = 1;
