create table app.events_2026 (like app.events including all excluding identity);
alter table app.events_2026 add constraint at_2026 check (
    at >= timestamptz '2026-01-01 00:00Z' and at < timestamptz '2027-01-01 00:00Z'
);
alter table app.events attach partition app.events_2026
    for values from ('2026-01-01 00:00Z') to ('2027-01-01 00:00Z');
