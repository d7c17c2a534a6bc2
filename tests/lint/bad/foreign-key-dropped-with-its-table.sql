drop table app.items; --! ban-drop-table, lock-elsewhere
