alter index app.events_payload attach partition app.events_2024_payload;
alter index app.events_payload attach partition app.events_2025_payload;
