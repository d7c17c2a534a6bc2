ALTER TABLE app.buffer SET LOGGED; --! move-table
