delete from app.items; --! delete-without-where
