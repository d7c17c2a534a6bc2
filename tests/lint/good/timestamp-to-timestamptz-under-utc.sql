set local timezone = 'UTC';
alter table app.customers alter column local_time type timestamptz;
