drop table app.orders cascade; --! ban-drop-table, drop-cascade, lock-elsewhere
