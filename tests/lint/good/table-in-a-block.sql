do $$
begin
    create table app.colours (id bigint primary key, name text);
    create index colours_name on app.colours (name);
    alter table app.colours alter column name set not null;
end $$;
