alter table app.orders add column lot double precision default random(); --! adding-field-with-default
