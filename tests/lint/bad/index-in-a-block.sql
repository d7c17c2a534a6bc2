do $$
begin
    if to_regclass('app.customers_name') is null then
        create index customers_name on app.customers (name); --! require-concurrent-index-creation
    end if;
end $$;
