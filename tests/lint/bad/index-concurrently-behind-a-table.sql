create table app.colours (id bigint primary key);
CREATE INDEX CONCURRENTLY customers_name --! no-transaction
    ON app.customers (name);
