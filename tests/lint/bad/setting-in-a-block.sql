do $$ begin
    set work_mem = '64MB'; --! setting-left
end $$;
