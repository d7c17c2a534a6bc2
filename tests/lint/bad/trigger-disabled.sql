alter table app.customers disable trigger customers_touch; --! disable-trigger
