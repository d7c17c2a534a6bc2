drop publication if exists changes;
create publication changes for table app.orders;
