alter table app.orders
    add column note text,
    add column weight integer default 1
        constraint weight_known check (weight > 0); --! add-column-check
