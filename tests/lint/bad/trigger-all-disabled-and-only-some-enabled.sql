ALTER TABLE app.customers DISABLE TRIGGER ALL; --! disable-trigger
update app.customers set born = null where id = 1;
ALTER TABLE app.customers ENABLE TRIGGER USER;
