ALTER TABLE app.log
    ADD CONSTRAINT log_pkey PRIMARY KEY (id, at); --! adding-serial-primary-key-field
