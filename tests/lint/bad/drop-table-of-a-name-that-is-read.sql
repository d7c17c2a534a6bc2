do $$ --! hidden-ddl
declare
    old text;
begin
    for old in select tablename from pg_tables where schemaname = 'app' and tablename like 'log%' loop
        execute 'drop table app.' || quote_ident(old);
    end loop;
end $$;
