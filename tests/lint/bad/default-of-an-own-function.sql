alter table app.orders add column code text default app.next_code(); --! adding-field-with-default
