-- headwater: no-transaction
create index concurrently events_2024_payload on app.events_2024 (payload);
