alter table app.customers add column note text;
update app.customers set note = 'first' where id = 1;
