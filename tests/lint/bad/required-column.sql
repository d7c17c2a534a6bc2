alter table app.orders add column channel text not null; --! adding-required-field, fails
