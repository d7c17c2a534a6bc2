do $$ begin
    alter table app.orders add column document json; --! json-column
end $$;
