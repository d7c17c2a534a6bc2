truncate app.products cascade; --! ban-truncate-cascade, lock-elsewhere
