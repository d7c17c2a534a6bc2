alter table app.orders add column token uuid default gen_random_uuid(); --! adding-field-with-default
