alter table app.orders
    add column double_qty integer
        generated always as (app.doubled(qty)) stored; --! stored-generated-column
