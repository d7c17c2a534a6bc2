set role pg_monitor; --! setting-left
