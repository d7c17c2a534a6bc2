alter table app.events attach partition app.events_2022
    for values from ('2022-01-01 00:00Z') to ('2023-01-01 00:00Z');
