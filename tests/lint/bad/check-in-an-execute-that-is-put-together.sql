do $$ --! scan-under-lock
declare
    name text := 'orders';
begin
    execute 'alter table app.' || quote_ident(name) || ' add constraint qty_known check (qty > 0)';
end
$$;
