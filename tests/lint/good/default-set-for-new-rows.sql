alter table app.orders add column token uuid;
alter table app.orders alter column token set default gen_random_uuid();
