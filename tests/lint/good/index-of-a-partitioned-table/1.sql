create index events_payload on only app.events (payload);
