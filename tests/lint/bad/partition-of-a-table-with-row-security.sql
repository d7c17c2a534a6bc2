grant select on app.readings_a to pg_monitor; --! partition-bypasses-rls
