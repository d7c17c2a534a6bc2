do $$
declare
    found record;
begin
    for found in select 1 loop
        execute 'alter table app.orders add constraint qty_known check (qty > 0)'; --! constraint-missing-not-valid
    end loop;
end
$$;
