alter table app.customers add constraint customers_code_key unique using index customers_code;
