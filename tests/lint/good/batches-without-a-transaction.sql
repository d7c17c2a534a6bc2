-- headwater: no-transaction
do $$
declare
    first bigint := 0;
begin
    while first < 100 loop
        update app.orders set status = 'old' where id > first and id <= first + 20;
        commit;
        first := first + 20;
    end loop;
end $$;
