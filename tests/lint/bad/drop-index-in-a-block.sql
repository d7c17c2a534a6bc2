do $$ begin
    drop index app.orders_status; --! require-concurrent-index-deletion
end $$;
