alter table app.orders add column made timestamp without time zone; --! prefer-timestamp-tz
