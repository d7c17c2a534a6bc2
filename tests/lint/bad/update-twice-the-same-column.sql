update app.orders set qty = 1, qty = 2 where id = 1; --! ban-duplicate-column-assignments, fails
