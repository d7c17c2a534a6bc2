alter table app.customers
    alter column local_time type timestamptz using local_time at time zone 'Europe/Berlin'; --! changing-column-type
