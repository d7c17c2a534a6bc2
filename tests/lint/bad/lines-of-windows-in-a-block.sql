do $$
begin
    alter table app.orders alter column qty set not null; --! adding-not-nullable-field
end $$;
