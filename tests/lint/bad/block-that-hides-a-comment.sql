do $$ begin --! hidden-ddl
    execute format('comment on table app.%I is %L', 'log', 'What happened.');
end $$;
