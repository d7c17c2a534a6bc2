alter table app.orders validate constraint qty_there;
