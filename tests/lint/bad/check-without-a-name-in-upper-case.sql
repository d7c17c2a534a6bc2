ALTER TABLE app.orders ADD CHECK (qty > 0); --! constraint-missing-not-valid
