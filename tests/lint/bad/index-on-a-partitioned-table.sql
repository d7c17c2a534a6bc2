create index events_payload on app.events (payload); --! require-concurrent-index-creation
