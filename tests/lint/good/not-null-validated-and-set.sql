alter table app.customers validate constraint email_there;
alter table app.customers alter column email set not null;
