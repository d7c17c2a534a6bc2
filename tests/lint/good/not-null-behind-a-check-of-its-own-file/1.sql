alter table app.orders add constraint qty_there check (qty is not null) not valid;
