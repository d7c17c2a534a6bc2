create table app.events_rest partition of app.events default; --! partition-of
