create or replace function app.doubled(n integer) returns integer language sql immutable
    as $$ select n + n $$;
