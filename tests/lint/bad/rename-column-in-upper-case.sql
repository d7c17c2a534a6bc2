ALTER TABLE app.orders RENAME qty TO quantity; --! renaming-column
