alter table app.orders add constraint qty_there not null qty; --! constraint-missing-not-valid
