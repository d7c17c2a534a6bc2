do $$ --! rewrite, rewrite
declare
    name text;
begin
    foreach name in array array['orders', 'products'] loop
        execute format('alter table app.%I add column token uuid default gen_random_uuid()', name);
    end loop;
end $$;
