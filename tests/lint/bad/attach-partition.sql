alter table app.events attach partition app.events_2023 --! attach-partition
    for values from ('2023-01-01 00:00Z') to ('2024-01-01 00:00Z');
