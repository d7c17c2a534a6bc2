alter table app.orders alter column total type numeric(14, 2);
