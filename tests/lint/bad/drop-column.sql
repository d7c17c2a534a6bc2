alter table app.orders drop column comment_text cascade; --! ban-drop-column, drop-cascade, lock-elsewhere
