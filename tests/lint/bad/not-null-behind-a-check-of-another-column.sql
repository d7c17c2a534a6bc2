alter table app.customers validate constraint notes_there;
alter table app.customers alter column code set not null; --! adding-not-nullable-field
