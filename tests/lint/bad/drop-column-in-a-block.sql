do $$ begin
    alter table app.products drop weight; --! ban-drop-column
end $$;
