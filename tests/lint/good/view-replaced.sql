create or replace view app.customer_names as select id, name, email from app.customers;
