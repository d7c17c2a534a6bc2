grant select, insert on app.orders to public; --! grant-to-public
