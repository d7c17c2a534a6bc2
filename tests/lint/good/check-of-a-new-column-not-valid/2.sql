alter table app.orders validate constraint weight_known;
