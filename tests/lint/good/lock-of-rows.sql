select id from app.orders where id = 1 for update;
