ALTER TABLE app.orders ADD COLUMN double_qty integer GENERATED ALWAYS AS (qty * 2);
