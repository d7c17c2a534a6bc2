ALTER TABLE app.customers ALTER COLUMN code TYPE text;
