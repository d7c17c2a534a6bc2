alter table app.log set unlogged; --! move-table, unlogged-table
