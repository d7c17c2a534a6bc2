do $$ begin
    execute $q$delete from app.items$q$; --! delete-without-where
end $$;
