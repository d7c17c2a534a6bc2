alter table app.orders
    alter column qty type bigint, --! changing-column-type
    alter column comment_text type varchar, -- nothing is to be done for it
    alter column product_no type bigint; --! changing-column-type
