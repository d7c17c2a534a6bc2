do $$ begin
    REFRESH MATERIALIZED VIEW app.daily; --! refresh-not-concurrent
end $$;
