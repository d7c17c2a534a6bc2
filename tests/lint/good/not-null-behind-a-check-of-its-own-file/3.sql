alter table app.orders alter column qty set not null;
alter table app.orders drop constraint qty_there;
