alter table app.orders
    add constraint qty_known check (qty > 0), --! constraint-missing-not-valid
    -- a comment between
    add constraint total_known check (total is not null); --! constraint-missing-not-valid
