alter table app.customers drop constraint if exists notes_there;
