DELETE FROM app.items --! delete-without-where
 USING app.orders;
