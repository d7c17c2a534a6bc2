alter table app.customers add column note text;
update app.customers set note = notes where notes like 'n%'; --! work-after-lock
