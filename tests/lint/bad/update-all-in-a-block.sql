do $$
declare
    done bigint;
begin
    update app.orders set status = 'old'; --! update-without-where
    get diagnostics done = row_count;
    raise notice '% rows', done;
end $$;
