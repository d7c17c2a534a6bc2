do $$
begin
    update app.orders set status = 'old' where id = 1;
    commit; --! commit-in-block, fails
end $$;
