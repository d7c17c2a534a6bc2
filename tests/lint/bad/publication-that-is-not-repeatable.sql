create publication changes for table app.orders; --! not-repeatable
