alter table app.orders add constraint qty_there not null qty not valid;
