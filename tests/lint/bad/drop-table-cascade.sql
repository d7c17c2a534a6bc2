drop table app.orders cascade; --! ban-drop-table, drop-cascade, cascade, lock-elsewhere, lock-elsewhere, lock-elsewhere, lock-elsewhere, lock-elsewhere
