-- Two of the same name would be an accident.
CREATE UNIQUE INDEX --! require-concurrent-index-creation
    customers_name_key
    -- lower case, as the search asks for it
    ON app.customers (lower(name));
