alter table app.orders add column weight integer check (weight > 0); --! add-column-check
