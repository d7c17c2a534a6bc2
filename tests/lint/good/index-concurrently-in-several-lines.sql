-- headwater: no-transaction

-- The search asks for names.
CREATE UNIQUE INDEX CONCURRENTLY
    customers_name_key
    ON app.customers
    USING btree (lower(name));
