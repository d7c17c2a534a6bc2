set work_mem = '64MB';
update app.orders set status = 'old' where id = 1;
reset work_mem;
