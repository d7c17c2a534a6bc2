ALTER TABLE app.orders
    ALTER COLUMN qty
        SET DATA TYPE bigint --! changing-column-type
        USING qty::bigint;
