update app.orders set status = 'old' where true; --! update-without-where
