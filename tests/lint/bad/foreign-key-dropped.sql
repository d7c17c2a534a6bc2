alter table app.items drop constraint items_order_id_fkey; --! lock-elsewhere
