do $$ --! hidden-ddl
begin
    execute format('drop table app.%I', 'log');
end $$;
