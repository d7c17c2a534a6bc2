alter table app.products alter column weight set data type numeric;
