alter table app.orders add constraint qty_known check (qty > 0) not valid;
