update app.orders set status = 'old'; --! update-without-where
