alter table app.customers alter column mood set default 'sad';
update app.customers set mood = 'sad' where id = 1;
