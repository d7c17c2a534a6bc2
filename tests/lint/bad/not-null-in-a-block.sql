do $$ begin
    -- every row has one
    alter table app.orders alter column qty set not null; --! adding-not-nullable-field
end $$;
