alter table app.orders add column note text;
