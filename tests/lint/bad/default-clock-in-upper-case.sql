ALTER TABLE app.orders ADD COLUMN done_at timestamptz NOT NULL DEFAULT clock_timestamp(); --! adding-field-with-default
