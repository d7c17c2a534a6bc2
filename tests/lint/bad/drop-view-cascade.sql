DROP VIEW IF EXISTS app.customer_names CASCADE; --! ban-drop-view, drop-cascade, lock-elsewhere
