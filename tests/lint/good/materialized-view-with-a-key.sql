create materialized view app.sums as select product_id, sum(qty) as sum from app.items group by 1;
create unique index sums_product_id on app.sums (product_id);
