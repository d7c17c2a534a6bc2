alter table app.orders add constraint qty_known check (qty > 0) not valid;
-- Nothing is gained so.
ALTER TABLE app.orders VALIDATE CONSTRAINT qty_known; --! validate-in-same-file
