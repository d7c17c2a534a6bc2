drop view app.order_list;
create view app.order_list as select id, customer_id, qty from app.orders;
