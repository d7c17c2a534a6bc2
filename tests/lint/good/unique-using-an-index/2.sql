alter table app.customers add constraint customers_name_key unique using index customers_name_key;
