ALTER TABLE app.orders
    ALTER COLUMN qty --! changing-column-type
        SET DATA TYPE bigint
        USING qty::bigint;
