ALTER TABLE app.customers
    ADD CONSTRAINT customers_born_name UNIQUE NULLS NOT DISTINCT (born, name); --! disallowed-unique-constraint
