alter table app.orders add column fee app.price; --! rewrite
