alter index app.customers_email rename to customers_by_email;
