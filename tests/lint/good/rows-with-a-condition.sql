update app.orders set status = 'old' where id < 10;
delete from app.items where order_id = 1;
insert into app.log (id, line) values (1001, 'done');
