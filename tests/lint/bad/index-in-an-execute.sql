do $do$
begin
    execute 'create index customers_name on app.customers (name)'; --! require-concurrent-index-creation
end $do$;
