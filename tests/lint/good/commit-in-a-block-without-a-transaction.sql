-- headwater: no-transaction
do $$
begin
    update app.orders set status = 'old' where id between 1 and 10;
    commit;
    update app.orders set status = 'old' where id between 11 and 20;
end $$;
