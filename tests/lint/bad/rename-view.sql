alter view app.order_list rename to orders_listed; --! renaming-object
