create materialized view app.names as select name from app.customers; --! matview-without-unique-index
