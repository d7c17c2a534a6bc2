ALTER TABLE app.orders --! fails
    ADD COLUMN note text,
    ADD COLUMN channel text --! adding-required-field
        NOT NULL;
