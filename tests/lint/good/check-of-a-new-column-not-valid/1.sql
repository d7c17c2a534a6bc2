alter table app.orders
    add column weight integer,
    add constraint weight_known check (weight > 0) not valid;
