GRANT SELECT ON app.orders TO
    pg_monitor,
    PUBLIC; --! grant-to-public
