do $$ begin
    create table app.events_2026 --! partition-of
        partition of app.events for values from ('2026-01-01 00:00Z') to ('2027-01-01 00:00Z');
end $$;
