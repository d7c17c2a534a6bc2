do $$ begin
    alter table app.customers add unique (name); --! disallowed-unique-constraint
end $$;
