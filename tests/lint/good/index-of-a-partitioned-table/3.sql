-- headwater: no-transaction
create index concurrently events_2025_payload on app.events_2025 (payload);
