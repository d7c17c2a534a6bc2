alter table app.nothing_in_it add column name text not null; --! adding-required-field, scan-under-lock
