ALTER TABLE app.orders
    ALTER COLUMN qty SET NOT NULL, --! adding-not-nullable-field
    ALTER total SET NOT NULL; --! adding-not-nullable-field
