do $$
begin
    if not exists (select from pg_roles where rolname = 'pg_monitor') then
        raise exception 'pg_monitor is not there';
    end if;
end $$;
