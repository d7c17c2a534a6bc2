do $$ begin
    alter table app.log rename to journal; --! renaming-table
end $$;
