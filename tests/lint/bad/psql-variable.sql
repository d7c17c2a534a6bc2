grant select on app.orders to :reader; --! syntax
