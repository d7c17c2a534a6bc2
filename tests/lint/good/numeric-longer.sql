alter table app.items alter column price type numeric(14, 2);
