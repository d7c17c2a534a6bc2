alter table app.orders
    alter column qty type bigint, --! changing-column-type
    -- both at once
    alter column product_no type bigint; --! changing-column-type
