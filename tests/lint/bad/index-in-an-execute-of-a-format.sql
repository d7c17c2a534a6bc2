do $do$ --! index-build-under-lock
begin
    execute format('create index %I on app.customers (name)', 'customers_name');
end $do$;
