alter table app.customers disable trigger customers_touch;
update app.customers set born = null where id = 1;
alter table app.customers enable trigger customers_touch;
